"""Training, one loop for both architectures: pretraining of the bases and multitask finetuning.

Three kinds of batches: next token (decoder-only), span corruption (encoder-decoder), and finetuning pairs with the
loss on the target only, each target counting the same whatever its length, as the BLOOMZ and mT0 models were
finetuned (arXiv 2211.01786). A batch is a pure function of its step, so an interrupted training goes on from its
last checkpoint to the same result.
"""

import json
import math
import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from workbench.errors import BadInput

IGNORED = -100  # the label of positions that are not scored


@dataclass(frozen=True)
class Batch:
    """Token ids, mask and labels of shape (rows, length), and the weight of each label's loss (they sum to 1)."""

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    labels: torch.Tensor
    weights: torch.Tensor


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train; the learning rate warms up, stays, and falls to 0 over the last `decay` share."""

    steps: int
    learning_rate: float
    warmup: int = 100
    decay: float = 0.3
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = 1.0

    def rate(self, step: int) -> float:
        """The learning rate at a step (counted from 0)."""
        left = (self.steps - step) / max(1.0, self.decay * self.steps)
        return self.learning_rate * min(1.0, (step + 1) / max(1, self.warmup), left)


def next_token_batch(rows: Sequence[Sequence[int]], pad: int) -> Batch:
    """Every token but the first is predicted from those before it; every token counts the same.

    Raises:
        BadInput: a row of fewer than two tokens, in which nothing can be predicted.
    """
    if min(map(len, rows)) < 2:
        raise BadInput("a pretraining document has fewer than two tokens; leave it out")
    labels = [[IGNORED, *row[1:]] for row in rows]
    share = 1 / sum(len(row) - 1 for row in rows)
    return _padded(rows, labels, [[share] * len(row) for row in rows], pad)


def pairs_batch(
    pairs: Sequence[tuple[Sequence[int], Sequence[int]]], pad: int, encoder_decoder: bool
) -> Batch:
    """Input and target ids; the loss is on the target only, and every target counts the same.

    Decoder-only models read input + target as one row (the space between them belongs to the target's ids);
    encoder-decoder models read the input and are taught the target. Both targets end with the end token.

    Raises:
        BadInput: an empty input or target.
    """
    if any(not source or not target for source, target in pairs):
        raise BadInput("a finetuning pair has an empty input or an empty target; leave it out")
    shares = [1 / (len(pairs) * len(target)) for _, target in pairs]
    if encoder_decoder:
        weights = [[share] * len(target) for share, (_, target) in zip(shares, pairs, strict=True)]
        return _padded([source for source, _ in pairs], [target for _, target in pairs], weights, pad)
    rows = [[*source, *target] for source, target in pairs]
    labels = [[IGNORED] * len(source) + list(target) for source, target in pairs]
    return _padded(rows, labels, [[share] * len(row) for share, row in zip(shares, rows, strict=True)], pad)


def corrupt(
    row: Sequence[int], spans: Sequence[tuple[int, int]], sentinels: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Hide spans [start, end) of a row behind sentinels: what is left, and what the decoder must say (T5's format).

    Raises:
        BadInput: spans that overlap, or more of them than sentinels.
    """
    if len(spans) > len(sentinels) or any(a[1] > b[0] for a, b in pairwise(spans)):
        raise BadInput(
            f"{len(spans)} spans for {len(sentinels)} sentinels; spans must be ordered, apart and not too many"
        )
    left: list[int] = []
    hidden: list[int] = []
    at = 0
    for sentinel, (start, end) in zip(sentinels, spans, strict=False):
        left += [*row[at:start], sentinel]
        hidden += [sentinel, *row[start:end]]
        at = end
    return [*left, *row[at:]], hidden


def draw_spans(length: int, share: float, longest: int, rng: random.Random) -> list[tuple[int, int]]:
    """Spans of 1 to `longest` tokens, at least one token apart, that hide about `share` of a row."""
    spans: list[tuple[int, int]] = []
    wanted, at = max(1, round(share * length)), 0
    while wanted > 0 and at < length:
        size = min(rng.randint(1, longest), wanted, length - at)
        room = max(0, length - at - wanted - wanted // longest)
        start = at + (rng.randint(0, min(room, 2 * longest)) if room else 0)
        spans.append((start, min(start + size, length)))
        wanted, at = wanted - size, start + size + 1
    return [span for span in spans if span[0] < span[1]]


def loss_of(model: Any, batch: Batch) -> torch.Tensor:
    """The weighted cross-entropy in nats of a batch: a scalar."""
    output = model(
        input_ids=batch.input_ids, attention_mask=batch.attention_mask, **_decoder_inputs(model, batch)
    )
    logits, labels, weights = output.logits, batch.labels, batch.weights
    if not model.config.is_encoder_decoder:
        logits, labels, weights = logits[:, :-1], labels[:, 1:], weights[:, 1:]
    kept = labels != IGNORED
    losses = functional.cross_entropy(logits[kept].float(), labels[kept], reduction="none")
    return (losses * weights[kept]).sum()


def _decoder_inputs(model: Any, batch: Batch) -> dict[str, torch.Tensor]:
    if not model.config.is_encoder_decoder:
        return {}
    shifted = batch.labels.roll(1, dims=1).masked_fill(
        batch.labels.roll(1, dims=1) == IGNORED, model.config.pad_token_id
    )
    shifted[:, 0] = model.config.decoder_start_token_id
    return {"decoder_input_ids": shifted}


def train(
    model: Any,
    batch_of: Callable[[int], Batch],
    plan: Plan,
    folder: Path | None = None,
    every_seconds: float = 120.0,
    report: Callable[[int, float], None] | None = None,
) -> list[float]:
    """Train a model in place and give the loss of every step, in nats.

    `batch_of(step)` must depend on the step alone. With a `folder`, a checkpoint (weights, optimiser, losses) is
    written there every so often and a training found there goes on; it is removed by who made the folder.

    Raises:
        BadInput: the checkpoint belongs to another plan, or the loss is no longer a finite number.
    """
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=plan.learning_rate, betas=plan.betas, weight_decay=plan.weight_decay
    )
    losses = _resume(model, optimizer, plan, folder)
    saved = time.monotonic()
    model.train()
    for step in range(len(losses), plan.steps):
        for group in optimizer.param_groups:
            group["lr"] = plan.rate(step)
        loss = loss_of(model, batch_of(step))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), plan.clip)
        optimizer.step()
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            raise BadInput(
                f"the loss is {losses[-1]} at step {step}; lower the learning rate and start again"
            )
        if report:
            report(step, losses[-1])
        if folder and time.monotonic() - saved > every_seconds:
            _save(model, optimizer, plan, losses, folder)
            saved = time.monotonic()
    if folder:
        _save(model, optimizer, plan, losses, folder)
    model.eval()
    return losses


def _save(model: Any, optimizer: Any, plan: Plan, losses: list[float], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f".training.{os.getpid()}"
    state = {
        "plan": json.dumps(asdict(plan)),
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "losses": losses,
    }
    torch.save(state, aside)
    aside.replace(folder / "training.pt")


def _resume(model: Any, optimizer: Any, plan: Plan, folder: Path | None) -> list[float]:
    path = folder / "training.pt" if folder else None
    if path is None or not path.exists():
        return []
    state = torch.load(path, weights_only=True)
    if state["plan"] != json.dumps(asdict(plan)):
        raise BadInput(f"{path} was made with another plan; remove it, or train with {state['plan']}")
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return list(state["losses"])


def _padded(
    rows: Sequence[Sequence[int]],
    labels: Sequence[Sequence[int]],
    weights: Sequence[Sequence[float]],
    pad: int,
) -> Batch:
    ids = _rectangle(rows, pad, torch.long)
    return Batch(
        input_ids=ids,
        attention_mask=_rectangle([[1] * len(row) for row in rows], 0, torch.long),
        labels=_rectangle(labels, IGNORED, torch.long),
        weights=_rectangle(weights, 0.0, torch.float32),
    )


def _rectangle(rows: Sequence[Sequence[Any]], filler: Any, dtype: torch.dtype) -> torch.Tensor:
    length = max(map(len, rows))
    return torch.tensor([[*row, *[filler] * (length - len(row))] for row in rows], dtype=dtype)
