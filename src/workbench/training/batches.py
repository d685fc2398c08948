"""The training signal of a step (next tokens, hidden spans, or the targets of prompts) and its loss.

In finetuning pairs the loss is on the target only and each target counts the same whatever its length, as BLOOMZ
(`--norm-target-loss`) and mT0 (T5X's AVERAGE_PER_SEQUENCE) were finetuned (arXiv 2211.01786).
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch.nn import functional

from workbench.errors import BadInput

IGNORED = -100  # the label of positions that are not scored


@dataclass(frozen=True)
class Batch:
    """Token ids, mask and labels of shape (rows, length), and the weight of each label in the loss.

    The weights of a step sum to 1: those of one batch, or of all its micro-batches together.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    labels: torch.Tensor
    weights: torch.Tensor

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device."""
        tensors = (self.input_ids, self.attention_mask, self.labels, self.weights)
        return self if self.input_ids.device == device else Batch(*(tensor.to(device) for tensor in tensors))


def next_token_batch(rows: Sequence[Sequence[int]], pad: int) -> Batch:
    """Return a batch in which every token but the first is predicted from those before it; all have the same weight.

    Raises:
        BadInput: a row of fewer than two tokens.
    """
    if min(map(len, rows)) < 2:
        raise BadInput("a pretraining document has fewer than two tokens; leave it out")
    labels = [[IGNORED, *row[1:]] for row in rows]
    share = 1 / sum(len(row) - 1 for row in rows)
    return _padded(rows, labels, [[share] * len(row) for row in rows], pad)


def pairs_batch(
    pairs: Sequence[tuple[Sequence[int], Sequence[int]]], pad: int, encoder_decoder: bool
) -> Batch:
    """Return a batch of input and target ids; the loss is on the target only, and every target counts the same.

    Decoder-only models read input + target as one row (the space between them belongs to the target's ids);
    encoder-decoder models read the input and predict the target. The targets passed in end with the end token.

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


def cut(batch: Batch, parts: int) -> list[Batch]:
    """Split a batch into parts of rows of similar length, to save padding; the parts' losses sum to that of the batch.

    Length means that of the input, plus that of the labels if these are separate (encoder-decoder).
    """
    inputs, labels = batch.attention_mask.sum(dim=1), (batch.labels != IGNORED).sum(dim=1)
    apart = batch.labels.shape[1] != batch.input_ids.shape[1] or bool((batch.labels[:, 0] != IGNORED).all())
    order = (inputs + labels if apart else inputs).argsort(stable=True)
    found = []
    for rows in order.chunk(parts):
        wide = int(inputs[rows].max())
        long = int(labels[rows].max()) if apart else wide
        found.append(
            Batch(
                batch.input_ids[rows, :wide],
                batch.attention_mask[rows, :wide],
                batch.labels[rows, :long],
                batch.weights[rows, :long],
            )
        )
    return found


def corrupt(
    row: Sequence[int], spans: Sequence[tuple[int, int]], sentinels: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Replace spans [start, end) of a row by sentinels and return (input, target) in T5's format.

    Raises:
        BadInput: spans that overlap or are not in order, or more spans than sentinels.
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
    """Draw spans of 1 to `longest` tokens, at least one token apart, that hide about `share` of a row."""
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
    """Return the weighted cross-entropy of a batch in nats, softmax in float32: a scalar on the model's device.

    `model` may be wrapped for several processes. BLOOM computes logits only where a label is scored, since those of its
    250,880 tokens at all positions would fill the memory.
    """
    inner = getattr(model, "module", model)
    batch = batch.to(inner.device)
    read = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    labels, weights = batch.labels, batch.weights
    if not inner.config.is_encoder_decoder:
        labels, weights = labels[:, 1:], weights[:, 1:]
    kept = labels != IGNORED
    if inner.config.is_encoder_decoder:
        logits = model(**read, decoder_input_ids=_shifted(inner.config, batch.labels)).logits[kept]
    elif inner.config.model_type == "bloom":
        logits = model(**read, logits_to_keep=functional.pad(kept, (0, 1))).logits
    else:
        logits = model(**read).logits[:, :-1][kept]
    losses = functional.cross_entropy(logits.float(), labels[kept], reduction="none")
    return (losses * weights[kept]).sum()


def _shifted(config: Any, labels: torch.Tensor) -> torch.Tensor:
    """Return the decoder's input before each label: the start token, then all labels but the last."""
    before = labels.roll(1, dims=1)
    before = before.masked_fill(before == IGNORED, config.pad_token_id)
    before[:, 0] = config.decoder_start_token_id
    return before


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
