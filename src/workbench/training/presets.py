"""Finetuning settings: the published ones of BLOOMZ and mT0, and our own for small models.

Sources. bloomz: the SLURM scripts of bigscience-workshop/bigscience, train/tr13-mtf (Adam 0.9 / 0.95, eps 1e-8,
learning rate 2e-5 constant without warm-up, clip 1.0, weight decay 1e-4, batches of 2,048 rows of 2,048 tokens; 1,024
rows for 560m and 1b1; the loss of each target normalised by its length). mt0: xmtf issues 6 and 12 (T5X, batches of
512, lengths 1,024 and 1,024, AVERAGE_PER_SEQUENCE, no packing). Steps: the model cards, through the catalogue.

Differences. A row of bloomz held several packed pairs; here a batch is 2,048 pairs (1,024), and of its 2,048 tokens a
target may take 512, which is our choice. Weight decay is decoupled (AdamW) and applies to all parameters. For mT0 our
sources state no learning rate, so one must be given, and the optimiser is ours: AdamW (0.9, 0.98), clip 1.0, no weight
decay.
"""

from dataclasses import dataclass, fields
from typing import Any, Literal

from workbench import family
from workbench.errors import BadInput, UnknownName
from workbench.models.identity import Identity
from workbench.training.loop import Plan

MICRO_ROWS = 16  # rows of a micro-batch by default
PRESETS = ("bloomz", "mt0")
_HALVED = ("bloom-560m", "bloom-1b1")


@dataclass(frozen=True)
class Settings:
    """Everything that determines the result of a finetuning besides base and mixture, and how its steps are split.

    Attributes:
        batch: Pairs per step, over all processes.
        accumulate: Micro-batches per step and process; None: as many as keep them at 16 rows or fewer.
        max_input, max_target: Lengths in tokens at which texts are truncated; the target's includes the end token.
        dtype: Of the forward pass; weights and optimiser are float32.
        seed: Of dropout.
    """

    plan: Plan
    batch: int
    max_input: int
    max_target: int
    accumulate: int | None = None
    dtype: Literal["float32", "bfloat16"] = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        numbers = {
            "steps": self.plan.steps,
            "batch": self.batch,
            "max_input": self.max_input,
            "max_target": self.max_target,
        }
        numbers["accumulate"] = 1 if self.accumulate is None else self.accumulate
        for name, number in numbers.items():
            if number < 1:
                raise BadInput(f"{name} is {number}; it must be 1 or more")
        if not 0 < self.plan.learning_rate < 1:
            raise BadInput(f"the learning rate is {self.plan.learning_rate}; it must be between 0 and 1")
        if self.dtype not in ("float32", "bfloat16"):
            raise BadInput(f"no training in {self.dtype!r}; choose float32 or bfloat16 (float16 overflows)")
        if (self.accumulate or 1) > self.batch:
            raise BadInput(
                f"accumulate is {self.accumulate}, more than the {self.batch} pairs of a batch; lower it"
            )

    def parts(self, processes: int) -> int:
        """Return the number of micro-batches of a step, over all processes.

        Raises:
            BadInput: more processes than pairs.
        """
        if processes > self.batch:
            raise BadInput(f"{processes} processes for a batch of {self.batch} pairs; raise the batch")
        needed = self.accumulate or -(-self.batch // (MICRO_ROWS * processes))
        return min(self.batch, needed * processes)


def settings_for(base: Identity, preset: str | None = None, **given: Any) -> Settings:
    """Return the settings to finetune a base: those of a preset, or ours, with the given ones (not None) in their place.

    Args:
        preset: "bloomz", "mt0", or None: 400 steps of 64 pairs at 3e-4, for small models.
        given: steps, learning_rate, and the fields of `Settings` except the plan.

    Raises:
        UnknownName: no such preset or setting.
        BadInput: steps or a learning rate that the preset lacks are not given, or lengths exceed the model's context.
    """
    found = _preset(base, preset)
    given = {name: value for name, value in given.items() if value is not None}
    known = {field.name for field in fields(Settings)} - {"plan"} | {"steps", "learning_rate"}
    if set(given) - known:
        raise UnknownName(
            f"no setting called {min(set(given) - known)!r}; there are: {', '.join(sorted(known))}"
        )
    for name in ("steps", "learning_rate"):
        if name in given:
            found["plan"][name] = given.pop(name)
        elif found["plan"][name] is None:
            raise BadInput(
                f"the preset {preset!r} has no {name} for {base.name}; give --{name.replace('_', '-')}"
            )
    plan, room = Plan(**found.pop("plan")), base.context_length
    if not base.is_encoder_decoder:
        found["max_target"] = min(found["max_target"], max(1, room // 4))
        room -= given.get("max_target", found["max_target"])
    found["max_input"] = max(1, min(found["max_input"], room))
    found["max_target"] = min(found["max_target"], base.context_length)
    settings = Settings(plan=plan, **{**found, **given})
    _check_fit(settings, base)
    return settings


def _preset(base: Identity, preset: str | None) -> dict[str, Any]:
    published = {"steps": _published_steps(base), "warmup": 0, "decay": 0.0}
    if preset == "bloomz":
        plan = {**published, "learning_rate": 2e-5, "weight_decay": 1e-4, "betas": (0.9, 0.95)}
        return {
            "plan": plan,
            "batch": 1024 if _catalogued(base) in _HALVED else 2048,
            "max_input": 1536,
            "max_target": 512,
        }
    if preset == "mt0":
        plan = {**published, "learning_rate": None, "weight_decay": 0.0}
        return {"plan": plan, "batch": 512, "max_input": 1024, "max_target": 1024}
    if preset is None:
        plan = {"steps": 400, "learning_rate": 3e-4, "warmup": 50}
        return {"plan": plan, "batch": 64, "max_input": 512, "max_target": 128}
    raise UnknownName(f"no preset called {preset!r}; choose one of: {', '.join(PRESETS)}")


def _catalogued(base: Identity) -> str | None:
    """Return the base's name in the catalogue, or None."""
    names = (base.name, base.hub_id)
    return next((one.name for one in family.checkpoints() if one.name in names or one.hub_id in names), None)


def _published_steps(base: Identity) -> int | None:
    """Return the steps of the released model that was finetuned on xP3 from this base, or None if unknown."""
    name = _catalogued(base)
    tuned = (one for one in family.checkpoints() if one.mixture == "xP3" and one.parent == name)
    return next((one.steps for one in tuned), None) if name else None


def _check_fit(settings: Settings, base: Identity) -> None:
    inputs, targets = settings.max_input, settings.max_target
    longest = max(inputs, targets) if base.is_encoder_decoder else inputs + targets
    if longest > base.context_length:
        raise BadInput(
            f"max_input {inputs} and max_target {targets} do not fit {base.name}, which takes {base.context_length} tokens"
            f"{'' if base.is_encoder_decoder else ' together'}; lower one of them"
        )
