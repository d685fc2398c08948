"""Finetuning of a base model on a mixture, to a checkpoint folder that `workbench.load` reads.

During training the checkpoint is in `.<name>.training` beside that folder; the folder itself appears when complete.
"""

import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from tqdm import tqdm

from workbench.atomic import write_atomically
from workbench.engines.transformers.loading import quiet
from workbench.errors import BadInput, StoreFailed
from workbench.models import Model
from workbench.models.engines import DEFAULT
from workbench.models.identity import Identity
from workbench.training.loop import Options, gather, train
from workbench.training.pairs import Batches, Drawn, Reader
from workbench.training.presets import Settings

RECORD = "training.json"


class Mixture(Drawn, Protocol):
    """The data of a finetuning, such as a pool of `workbench.training.mixtures`."""

    def fingerprint(self) -> str: ...  # noqa: D102

    def check(self) -> int: ...  # noqa: D102


@dataclass(frozen=True)
class Work:
    """One finetuning: its output folder, and the facts that determine its result."""

    out: Path
    facts: dict[str, Any]

    @property
    def training(self) -> Path:
        """The folder of the checkpoint during training."""
        return self.out.with_name(f".{self.out.name}.training")

    @property
    def digest(self) -> str:
        """A digest of the facts."""
        return blake2b(json.dumps(self.facts, sort_keys=True).encode(), digest_size=20).hexdigest()


def finetune(
    model: Model,
    mixture: Mixture,
    out: Path,
    settings: Settings,
    *,
    show: bool = True,
    every_seconds: float = 120.0,
) -> Path:
    """Finetune a model on a mixture and write the checkpoint; an existing checkpoint of the same finetuning is left unchanged.

    If interrupted, the same call resumes and reaches the same result; how a step is split (`accumulate`, processes) may
    change in between. The base is trained in float32, whatever its file holds; dropout is that of its configuration.
    Afterwards, even if interrupted, the handle answers as the base: it does not keep the trained weights.

    Args:
        model: A handle in float32; `load(name, device="cpu")` lets accelerate place it.
        out: A new folder: weights (safetensors, float32), tokenizer, `training.json` (losses, settings, digests).
        every_seconds: Seconds between checkpoints.

    Raises:
        BadInput: a model in another dtype, or quantized; `out` holds something else, or another finetuning; a malformed line of a local
            mixture; and what `train` raises.
        StoreFailed: the checkpoint could not be written; the training so far is kept.
    """
    if model.kind != DEFAULT:
        raise BadInput(
            f"{model.name} is opened by the engine {model.kind!r}; finetuning needs a checkpoint in transformers' format"
        )
    if model.precision != "float32":
        raise BadInput(
            f"{model.name} was loaded in {model.precision}; finetuning needs load(name), in float32"
        )
    work = Work(out, _facts(model.identity, mixture, settings))
    accelerator = gather()
    if _is_done(work):
        shutil.rmtree(work.training, ignore_errors=True)  # left behind if the process ended after the rename
        return out
    if not (work.training / "training.pt").exists():
        mixture.check()
        if accelerator.is_main_process:
            _begin(work)
    accelerator.wait_for_everyone()
    engine: Any = model.fresh_engine()
    reader = Reader(engine.tokenizer, model.is_encoder_decoder, settings.max_input, settings.max_target)
    batches = Batches(mixture, reader, settings.batch, settings.parts(accelerator.num_processes))
    options = Options(settings.dtype == "bfloat16", settings.seed, work.digest, batches.tally, every_seconds)
    with _progress(model.name, settings.plan.steps, show and accelerator.is_main_process) as report:
        losses = train(engine.model, batches, settings.plan, work.training, report=report, options=options)
    if accelerator.is_main_process:
        cut = {"accumulate": settings.accumulate, "processes": accelerator.num_processes}
        _write(work, engine, {"losses": losses, "tally": dict(batches.tally), **cut})
    accelerator.wait_for_everyone()
    return out


def describe(folder: Path) -> list[str]:
    """Return lines of text about a finetuning: folder, first and last loss, truncations; empty outside the main process."""
    if not gather().is_main_process:
        return []
    record = _read(folder / RECORD) or {}
    losses, tally = record["losses"], record["tally"]
    end = losses[-max(1, len(losses) // 20) :]
    lines = [
        f"{folder}: {len(losses)} steps, loss {losses[0]:.3f} -> {sum(end) / len(end):.3f} nats; load it by that path"
    ]
    cut = {name: tally.get(f"{name}_cut", 0) for name in ("inputs", "targets")}
    if any(cut.values()):
        lines.append(
            f"of {tally['pairs']} pairs drawn, {cut['inputs']} inputs and {cut['targets']} targets were cut: "
            "raise --max-input or --max-target to keep them whole"
        )
    return lines


def _facts(base: Identity, mixture: Mixture, settings: Settings) -> dict[str, Any]:
    """Return what determines the result, as JSON; how a step is split does not, up to rounding."""
    chosen = asdict(replace(settings, accumulate=None))
    del chosen["accumulate"]
    digests = {"weights": base.weights, "tokenizer": base.tokenizer}
    facts = {"base": digests, "data": mixture.fingerprint(), "settings": chosen}
    found: dict[str, Any] = json.loads(json.dumps(facts))
    return found


def _is_done(work: Work) -> bool:
    """Return whether the folder holds this finetuning.

    Raises:
        BadInput: it holds another finetuning, or something else.
    """
    if not work.out.exists():
        found = _read(work.training / RECORD)
        if found is not None and found != work.facts:
            raise BadInput(
                f"another finetuning of {work.out} was begun ({_difference(found, work.facts)}); "
                f"remove {work.training}, or name another folder"
            )
        return False
    found = _read(work.out / RECORD)
    if found is None or "facts" not in found:
        raise BadInput(f"{work.out} already exists and does not hold a finetuning; name a new folder")
    if found["facts"] != work.facts:
        raise BadInput(
            f"{work.out} holds another finetuning ({_difference(found['facts'], work.facts)}); name another folder"
        )
    return True


def _difference(found: dict[str, Any], asked: dict[str, Any]) -> str:
    """Describe how two finetunings differ."""
    flat = [
        {**one["settings"], **one["settings"]["plan"], "base": one["base"], "data": one["data"]}
        for one in (found, asked)
    ]
    names = [name for name in flat[1] if name != "plan" and flat[0].get(name) != flat[1][name]]
    return "; ".join(
        f"other {name}" if name in ("base", "data") else f"{name} {flat[0].get(name)}, now {flat[1][name]}"
        for name in names
    )


def _begin(work: Work) -> None:
    try:
        work.training.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreFailed(f"could not make {work.training}: {error}; choose another folder") from error
    write_atomically(work.training / RECORD, json.dumps(work.facts, indent=1) + "\n")


def _read(path: Path) -> dict[str, Any] | None:
    found: dict[str, Any] | None = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    return found


def _write(work: Work, engine: Any, results: dict[str, Any]) -> None:
    """Write the folder under another name, rename it when complete, and delete the training checkpoint."""
    aside = work.training / "whole"
    shutil.rmtree(aside, ignore_errors=True)
    libraries = {name: version(name) for name in ("accelerate", "tokenizers", "torch", "transformers")}
    base = {"name": engine.identity.name, "hub_id": engine.identity.hub_id, "commit": engine.identity.commit}
    record = {"base": base, "facts": work.facts, "libraries": libraries, **results}
    try:
        with quiet():
            engine.model.save_pretrained(aside)
            engine.tokenizer.save_pretrained(aside)
        (aside / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        aside.rename(work.out)
    except (
        OSError,
        RuntimeError,
    ) as error:  # safetensors' errors are RuntimeErrors
        shutil.rmtree(aside, ignore_errors=True)
        raise StoreFailed(
            f"could not write {work.out}: {error}; free some space and start again: the training so far is kept"
        ) from error
    shutil.rmtree(work.training)


@contextlib.contextmanager
def _progress(name: str, steps: int, show: bool) -> Iterator[Any]:
    """Show a progress bar with the loss of the last step."""
    with tqdm(total=steps, desc=f"finetuning {name}", disable=not show, mininterval=1) as bar:

        def report(step: int, loss: float) -> None:
            bar.update(step + 1 - bar.n)
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)

        yield report
