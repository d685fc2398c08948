"""The training loop, for both architectures, any size and any number of processes, on accelerate.

A step's batch, dropout and learning rate are pure functions of the step, so an interrupted training resumes from its last
checkpoint to the same result. Several processes share the micro-batches of a step and sum their gradients, so that they
reproduce the losses of one process (up to rounding and dropout, which each process draws for itself).
"""

import contextlib
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from workbench.engines.transformers.gelu import one_kernel
from workbench.errors import BadInput, StoreFailed
from workbench.training.batches import Batch, loss_of

SAVING_SHARE = 0.05  # the largest share of the time spent on checkpoints


@dataclass(frozen=True)
class Plan:
    """Length and learning rate of a training: warm-up, a constant phase, and a decline to 0 over the last `decay` share.

    Parameters whose name contains an entry of `rates` have that multiple of the learning rate. Adam moves a parameter by about
    the learning rate per step, too little for those that must move far: relative position biases and embeddings of an mT5.
    """

    steps: int
    learning_rate: float
    warmup: int = 100
    decay: float = 0.3
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = 1.0
    rates: tuple[tuple[str, float], ...] = ()

    def groups(self, model: Any) -> list[dict[str, Any]]:
        """Return the optimiser's parameter groups, one per multiple (`times`) of the learning rate."""
        found: dict[float, list[Any]] = {}
        for name, parameter in model.named_parameters():
            times = next((times for part, times in self.rates if part in name), 1.0)
            found.setdefault(times, []).append(parameter)
        return [
            {"params": parameters, "times": times, "weight_decay": self.weight_decay / times}
            for times, parameters in found.items()
        ]

    def rate(self, step: int) -> float:
        """Return the learning rate at a step (counted from 0)."""
        left = (self.steps - step) / max(1.0, self.decay * self.steps)
        return self.learning_rate * min(1.0, (step + 1) / max(1, self.warmup), left)


@dataclass(frozen=True)
class Options:
    """Further options of a training.

    Attributes:
        bfloat16: Forward passes in bfloat16 (autocast); weights, gradients and optimiser stay in float32.
        seed: Of dropout.
        belongs_to: Identifies the training, such as a digest; a checkpoint with another value is rejected.
        tally: Counts kept in the checkpoint with the losses; `batch_of` may add to it.
        every_seconds: Seconds between checkpoints, more if writing them would take too large a share of the time.
    """

    bfloat16: bool = False
    seed: int = 0
    belongs_to: str = ""
    tally: Counter[str] = field(default_factory=Counter)
    every_seconds: float = 120.0


def gather() -> Accelerator:
    """Return the accelerator of the processes that train together: one, or those that torchrun or `accelerate launch` started.

    Do not use accelerate's bare state instead: it ignores ACCELERATE_USE_CPU, and would treat each process as the only one.
    """
    return Accelerator(mixed_precision="no")  # we set the precision, whatever the launcher says


def train(
    model: Any,
    batch_of: Callable[[int], Batch | Sequence[Batch]],
    plan: Plan,
    folder: Path | None = None,
    *,
    report: Callable[[int, float], None] | None = None,
    every_seconds: float | None = None,
    options: Options | None = None,
) -> list[float]:
    """Train a model in place and return the loss of every step, in nats.

    Args:
        batch_of: Returns the batch of a step, which must depend on the step alone, or its micro-batches, whose gradients
            are summed before the update. The processes share the micro-batches.
        folder: Where checkpoints (weights, optimiser, losses) are written; a training found there is resumed. The caller
            removes it.
        report: Called with the step and its loss in the main process.
        every_seconds: Overrides that of the options.

    Raises:
        BadInput: the checkpoint belongs to another training, the loss is not finite, memory runs out, bfloat16 is not
            supported, or there are fewer micro-batches than processes.
        StoreFailed: a checkpoint could not be written; the previous one is intact.
    """
    options = options or Options()
    crew = gather()
    optimizer = torch.optim.AdamW(plan.groups(model), lr=plan.learning_rate, betas=plan.betas)
    losses = _resume(model, optimizer, plan, folder, options)
    wrapped, stepper = crew.prepare(model, optimizer)
    keep = _Keeper(folder if crew.is_main_process else None, every_seconds, options)
    model.train()
    with _own_noise(crew), one_kernel(model):
        for step in range(len(losses), plan.steps):
            for group in optimizer.param_groups:
                group["lr"] = plan.rate(step) * group["times"]
            torch.manual_seed(_noise(options.seed, step, crew.process_index))
            parts = _parts(batch_of(step), crew, step)
            with _memory_watched(parts, step):
                stepper.zero_grad()
                losses.append(_gradients(crew, wrapped, parts, options, step))
                crew.clip_grad_norm_(model.parameters(), plan.clip)
                stepper.step()
            if report and crew.is_main_process:
                report(step, losses[-1])
            keep.now_and_then(model, stepper, plan, losses)
    keep.write(model, stepper, plan, losses)
    crew.wait_for_everyone()
    model.eval()
    return losses


def _parts(found: Batch | Sequence[Batch], crew: Accelerator, step: int) -> Sequence[Batch]:
    """Return the micro-batches of this process: every n-th of the step's."""
    parts = [found] if isinstance(found, Batch) else found
    if len(parts) < crew.num_processes:
        raise BadInput(
            f"step {step} has {len(parts)} micro-batches for {crew.num_processes} processes; raise the accumulation"
        )
    return parts[crew.process_index :: crew.num_processes]


def _gradients(crew: Accelerator, model: Any, parts: Sequence[Batch], options: Options, step: int) -> float:
    """Accumulate the gradients of a step's micro-batches over all processes, and return the step's loss."""
    total = torch.zeros((), device=crew.device)
    for number, batch in enumerate(parts, start=1):
        last = number == len(parts)
        with contextlib.nullcontext() if last else crew.no_sync(model):
            with _precision(crew, options):
                loss = loss_of(model, batch)
            # gradients are averaged over processes, but should be summed
            crew.backward(loss * crew.num_processes if crew.num_processes > 1 else loss)
        total += loss.detach()
    value = (crew.reduce(total, "sum") if crew.num_processes > 1 else total).item()
    if not math.isfinite(value):
        raise BadInput(f"the loss is {value} at step {step}; lower the learning rate and start again")
    return float(value)


def _precision(crew: Accelerator, options: Options) -> contextlib.AbstractContextManager[Any]:
    if not options.bfloat16:
        return contextlib.nullcontext()
    if crew.device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise BadInput("this GPU does not compute in bfloat16; use --dtype float32")
    return torch.autocast(crew.device.type, dtype=torch.bfloat16)


@contextlib.contextmanager
def _memory_watched(parts: Sequence[Batch], step: int) -> Iterator[None]:
    """Turn an out-of-memory error into a BadInput with a remedy; the CPU's allocator raises a plain RuntimeError."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        words = ("out of memory", "can't allocate memory", "not enough memory", "bad_alloc")
        if not isinstance(error, MemoryError) and not any(word in str(error) for word in words):
            raise
        rows, length = max((part.input_ids.shape for part in parts), key=math.prod)
        raise BadInput(
            f"out of memory at step {step} with {rows} rows of {length} tokens at once; raise --accumulate (a step's "
            "rows are then read in smaller micro-batches, to the same result), or lower --max-input; what was trained is kept"
        ) from error


@contextlib.contextmanager
def _own_noise(crew: Accelerator) -> Iterator[None]:
    """Restore the caller's random state afterwards."""
    with torch.random.fork_rng([crew.device.index or 0] if crew.device.type == "cuda" else []):
        yield


def _noise(seed: int, step: int, process: int) -> int:
    return int.from_bytes(blake2b(f"{seed} {step} {process}".encode(), digest_size=7).digest(), "big")


class _Keeper:
    """Writes checkpoints at intervals that keep their cost small; without a folder, none."""

    def __init__(self, folder: Path | None, every_seconds: float | None, options: Options) -> None:
        self.folder, self.options, self.last = folder, options, time.monotonic()
        self.wait = options.every_seconds if every_seconds is None else every_seconds

    def now_and_then(self, model: Any, optimizer: Any, plan: Plan, losses: list[float]) -> None:
        """Write a checkpoint if one is due."""
        if self.folder and time.monotonic() - self.last > self.wait:
            started = time.monotonic()
            self.write(model, optimizer, plan, losses)
            self.last = time.monotonic()
            if self.wait:
                self.wait = max(self.wait, (self.last - started) / SAVING_SHARE)

    def write(self, model: Any, optimizer: Any, plan: Plan, losses: list[float]) -> None:
        """Write weights, optimiser and losses atomically."""
        if self.folder is None:
            return
        state = {
            "plan": json.dumps(asdict(plan)),
            "belongs_to": self.options.belongs_to,
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "losses": losses,
            "tally": dict(self.options.tally),
        }
        aside = self.folder / ".training.part"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            torch.save(state, aside)
            aside.replace(self.folder / "training.pt")
        except (OSError, RuntimeError) as error:  # torch's writer raises a RuntimeError when the disk is full
            aside.unlink(missing_ok=True)
            raise StoreFailed(
                f"could not write a checkpoint in {self.folder}: {error}; free some space and start again: "
                f"the training goes on from its last checkpoint"
            ) from error


def _resume(model: Any, optimizer: Any, plan: Plan, folder: Path | None, options: Options) -> list[float]:
    path = folder / "training.pt" if folder else None
    if path is None or not path.exists():
        return []
    state = torch.load(path, weights_only=True, map_location="cpu")
    if state["plan"] != json.dumps(asdict(plan)):
        raise BadInput(f"{path} was made with another plan; remove it, or train with {state['plan']}")
    if state.get("belongs_to", "") != options.belongs_to:
        raise BadInput(f"{path} belongs to another training; remove it, or name another folder")
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    options.tally.clear()
    options.tally.update(state.get("tally", {}))
    return list(state["losses"])
