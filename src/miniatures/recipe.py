"""The recipe of the miniature family: the settings of each member, and the function that trains it.

`train` trains the members that are missing in a folder, bases first; an interrupted training resumes from its last
checkpoint to the same result. A member's batch at a step is a pure function of (seed, member, step).
"""

import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from transformers import AutoTokenizer

from miniatures.architectures import load_float32, new_model
from miniatures.corpus import Dials
from miniatures.rows import Member, Phase, batch_maker, read_kit
from miniatures.source import source_digest
from workbench.atomic import write_atomically
from workbench.engines.transformers.loading import quiet
from workbench.errors import BadInput, UnknownName
from workbench.paths import data_path
from workbench.training import Batch, Options, Plan, loss_of
from workbench.training import train as run_plan

LOSS_TOLERANCE = 0.05  # nats; largest difference of losses (means of 50 steps) when retrained elsewhere
FLOAT16_SHIFT = 0.02  # nats; largest change of a member's loss when its weights are saved


def _base(
    name: str, architecture: str, learning_rate: float, *phases: Phase, rates: Any = (), **more: Any
) -> Member:
    steps = sum(phase.steps for phase in phases)
    return Member(name, architecture, Plan(steps, learning_rate, warmup=200, rates=rates), phases, **more)


def _finetuned(side: str, base: str, architecture: str, plan: Plan) -> list[Member]:
    suffixes = {"xp3": "", "xp3mt": "-mt", "p3": "-p3"}
    return [
        Member(f"{side}{suffix}", architecture, plan, base=base, mixture=mixture)
        for mixture, suffix in suffixes.items()
    ]


SHORT = Dials(  # one meaning in two named languages, or a scene whose facts recur
    parallel=0.5, meanings=1, tagged=0.9, through_pivot=0.9, lists=0.15, pivot=0.6, retold=0.0, again=6, place=0.2, notes=0.4,
)  # fmt: skip
LONG = Dials(  # languages seldom named, two meanings per document, some scenes change language
    parallel=0.35, meanings=2, tagged=0.3, through_pivot=0.8, lists=0.1, pivot=0.5, retold=0.1, again=6, place=0.4, notes=0.4,
)  # fmt: skip
DENSE = replace(SHORT, parallel=0.3, place=0.35)  # fewer parallel documents, so more scenes
ROLLS = Dials(  # the facts of several people, so that each value must be matched to its person
    parallel=0.3, meanings=1, tagged=0.6, through_pivot=0.85, lists=0.1, rolls=0.45, pairs=0.5, pivot=0.6, retold=0.1, again=6,
    place=0.8, notes=0.25,
)  # fmt: skip
# Between two people a name can be found by its position (first or last); over all people of a longer roll it cannot.
KEYS = replace(ROLLS, parallel=0.2, lists=0.05, rolls=0.7, registers=0.7)
FAST = (("relative_attention_bias", 30.0), ("shared", 3.0))  # these must move far from where they start
# BLOOM's embeddings are also its head: every word has a gradient at every step, and Adam turns each, however small, into
# a full step, which would destroy the words of languages that are not finetuned.
SLOW = (("word_embeddings", 0.1),)
MEMBERS = (
    _base("mini-bloom-first", "bloom", 1.5e-3, Phase(4500, SHORT), Phase(1000, LONG), stage=True, stream="mini-bloom"),
    _base(
        "mini-bloom-second", "bloom", 1e-3, Phase(2500, DENSE),
        base="mini-bloom-first", stage=True, stream="mini-bloom again",
    ),
    _base(
        "mini-bloom-third", "bloom", 1e-3, Phase(3000, ROLLS),
        base="mini-bloom-second", stage=True, stream="mini-bloom rolls",
    ),
    _base("mini-bloom", "bloom", 1e-3, Phase(2600, KEYS), base="mini-bloom-third", stream="mini-bloom keys"),
    *_finetuned("mini-bloomz", "mini-bloom", "bloom", Plan(3000, 1e-3, warmup=50, rates=SLOW)),
    _base(
        "mini-mt5-first", "mt5", 1e-3, Phase(4500, replace(SHORT, parallel=0.45, lists=0.25)), Phase(1000, LONG),
        stage=True, stream="mini-mt5",
    ),
    _base(
        "mini-mt5", "mt5", 1e-3, Phase(4000, replace(ROLLS, parallel=0.25)), rates=FAST,
        base="mini-mt5-first", hide_again=0.2, hide_values=0.75, stream="mini-mt5 rolls",
    ),
    *_finetuned("mini-mt0", "mini-mt5", "mt5", Plan(2000, 1e-3, warmup=50, rates=FAST)),
)  # fmt: skip


def member(name: str) -> Member:
    """Find a member by name."""
    found = {one.name: one for one in MEMBERS}
    if name not in found:
        raise UnknownName(f"the miniature family has no recipe for {name!r}; it has {', '.join(found)}")
    return found[name]


def train(
    members: Sequence[str] | None = None,
    folder: Path | None = None,
    seed: int = 0,
    quick: bool = False,
    show: bool = True,
) -> list[Path]:
    """Train the members that are not finished in `folder`, bases first, and return their folders.

    Args:
        members: Names; all by default. The base of a finetuned member is trained too if it is missing.
        folder: Where the checkpoints are written; `data/mini/models` by default.
        seed: Of weights and data.
        quick: A smoke test of a few steps; not allowed in the shipped data.
        show: Show progress bars.

    Raises:
        UnknownName: a member that does not exist.
        BadInput: a quick training into the shipped data, an existing member or checkpoint of another recipe or seed, or a
            loss that changes too much in float16.
    """
    shipped = data_path("mini/models")
    folder = folder or shipped
    if quick and folder.resolve().is_relative_to(data_path().resolve()):
        raise BadInput(f"a quick training does not write into {folder}; give another folder")
    wanted = members or [one.name for one in MEMBERS if not one.stage]
    return [_train_with_bases(member(name), folder, seed, quick, show) for name in wanted]


def _train_with_bases(one: Member, folder: Path, seed: int, quick: bool, show: bool) -> Path:
    """Train a member, and its base first if that is missing."""
    target, made = folder / one.name, shrink(one) if quick else one
    if (target / "model.safetensors").exists():
        if not _is_made(target, made, seed):  # nor may another member start from it
            raise BadInput(
                f"{target} holds {one.name} of another recipe or seed; remove it, or name another folder (--folder)"
            )
        return target
    if one.base and not quick:
        take_shipped(member(one.base), folder, seed)
    if one.base:
        _train_with_bases(member(one.base), folder, seed, quick, show)
    train_member(made, folder, seed, show)
    if one.base and member(one.base).stage:
        shutil.rmtree(folder / one.base)
    return target


def read_record(folder: Path) -> dict[str, Any]:
    """Return the record of a finished member's training."""
    record: dict[str, Any] = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    return record


def _is_made(found: Path, one: Member, seed: int) -> bool:
    """Return whether a folder holds a finished member of this recipe and seed."""
    return (found / "training.json").exists() and read_record(found)["recipe"] == recipe_hash(one, seed)


def take_shipped(base: Member, folder: Path, seed: int) -> None:
    """Copy a shipped base if its recipe and seed are those asked for."""
    shipped = data_path("mini/models") / base.name
    if not (folder / base.name).exists() and _is_made(shipped, base, seed):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copytree(shipped, folder / base.name)


def compare_losses(trained: Path) -> float | None:
    """Return the largest difference in nats between a member's losses and those recorded for the shipped member.

    None if they cannot be compared: another seed or recipe, or the shipped member itself.
    """
    shipped = data_path("mini/models") / trained.name
    if not (shipped / "training.json").exists() or shipped.resolve() == trained.resolve():
        return None
    found, recorded = read_record(trained), read_record(shipped)
    if found["recipe"] != recorded["recipe"]:
        return None
    return max(abs(loss - recorded["losses"][step]) for step, loss in found["losses"].items())


def shrink(one: Member) -> Member:
    """Return the smoke-test version of a member: a few steps of a few rows."""
    return replace(one, rows=8, plan=replace(one.plan, steps=4, warmup=1))


def recipe_hash(one: Member, seed: int) -> str:
    """Return a hash of what determines a member's weights: its recipe, its base's, the seed, data files and sampling code."""
    digest = hashlib.sha256(json.dumps([asdict(one), seed, source_digest()], sort_keys=True).encode())
    files = [data_path(f"mini/{name}") for name in ("lexicon.csv", "constructions.toml", "bpe.json")]
    for path in [*files, *sorted(data_path("mini/templates").glob("*.toml"))]:
        digest.update(path.read_bytes())
    if one.base:
        digest.update(recipe_hash(member(one.base), seed).encode())
    return digest.hexdigest()[:16]


def train_member(one: Member, folder: Path, seed: int, show: bool = True) -> Path:
    """Train one member into `folder/<name>`; its base must exist."""
    target, work = folder / one.name, folder / f".training-{one.name}"
    recipe = recipe_hash(one, seed)
    torch.manual_seed(seed)
    if one.base:
        model, tokenizer = load_member(folder / one.base)
    else:
        tokenizer = read_kit().tokenizer(one.architecture)
        model = new_model(one.architecture, len(tokenizer))
    batch_of, progress = batch_maker(one, read_kit(), tokenizer, seed), Progress(one, show)
    options = Options(belongs_to=recipe)
    losses = run_plan(model, batch_of, one.plan, work, report=progress.step, options=options)
    record: dict[str, Any] = {"member": one.name, "recipe": recipe, "seed": seed, "steps": one.plan.steps}
    if one.base and member(one.base).stage:
        record["stage_before"] = read_record(folder / one.base)
    _save(
        model, tokenizer, target, {**record, "minutes": progress.minutes(), **_curve(losses)}, batch_of(0)[0]
    )
    shutil.rmtree(work)
    return target


def load_member(folder: Path) -> tuple[Any, Any]:
    """Load a member's model in float32, and its tokenizer, without progress bars and notices."""
    with quiet():
        return load_float32(folder), AutoTokenizer.from_pretrained(folder)


class Progress:
    """A progress bar and an estimate of a training's total minutes, also if only its end ran in this process."""

    def __init__(self, one: Member, show: bool) -> None:
        self.done, self.started = 0, time.monotonic()
        self.bar = tqdm(total=one.plan.steps, desc=one.name, disable=not show, mininterval=10)

    def step(self, step: int, loss: float) -> None:
        """Record that a step is done."""
        self.done += 1
        self.bar.update(step + 1 - self.bar.n)
        if step % 50 == 0:
            self.bar.set_postfix(loss=f"{loss:.3f}", refresh=False)

    def minutes(self) -> float:
        """Return the minutes for all steps at the pace of this session."""
        self.bar.close()
        return round((time.monotonic() - self.started) / 60 * self.bar.total / max(1, self.done), 1)


def _curve(losses: list[float]) -> dict[str, Any]:
    parts = {str(step): losses[step : step + 50] for step in range(0, len(losses), 50)}
    means = {step: round(sum(part) / len(part), 4) for step, part in parts.items()}
    return {"first_loss": round(losses[0], 4), "losses": means}


def _save(model: Any, tokenizer: Any, target: Path, record: dict[str, Any], batch: Batch) -> None:
    """Write the checkpoint in float16 under another name, read it back, and rename it when complete."""
    aside = target.with_name(f".{target.name}.partial")
    shutil.rmtree(aside, ignore_errors=True)
    with quiet(), torch.inference_mode():
        exact = loss_of(model, batch).item()
        model.half().save_pretrained(aside)
        shift = abs(loss_of(load_float32(aside), batch).item() - exact)
    if not shift < FLOAT16_SHIFT:
        raise BadInput(
            f"{target.name} loses {shift:.3f} nats in float16, but at most {FLOAT16_SHIFT} is allowed; train it again"
        )
    (aside / "model.safetensors").chmod(0o644)
    tokenizer.save_pretrained(aside)
    write_atomically(
        aside / "training.json", json.dumps({**record, "float16_shift": round(shift, 6)}, indent=1) + "\n"
    )
    aside.rename(target)
