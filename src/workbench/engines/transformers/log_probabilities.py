"""Log-probabilities of texts after their prompts; shared prefixes are computed once, and logits only where needed.

BLOOM and mT5 are computed on trees (see `trees`); other architectures, and the exact mode, by transformers' own forward with one
sequence per row. The softmax is in float32 over the whole vocabulary; on trees it is computed piece by piece. Memory depends
on the batch's budget and not on the number of requests.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from workbench.engines.transformers import bloom, mt5
from workbench.engines.transformers.encoding import Encoded
from workbench.engines.transformers.hooks import Edits
from workbench.engines.transformers.out_of_memory import NOT_EVEN_ONE, OUT_OF_MEMORY, halved, ran_out
from workbench.engines.transformers.padding import padded, real
from workbench.engines.transformers.precision import better_wide, expect_finite
from workbench.engines.transformers.trees import Path, Row, in_batches, lay_out, padded_size
from workbench.errors import BadInput

TREES = {"bloom": bloom.states_of_trees, "mt5": mt5.states_of_trees}
_BUDGETS = {"cpu": 1024, "cuda": 16_384}  # tokens per batch
_PAIRS = 2**25  # token pairs in attention per batch and head: 8 rows of 2,048 tokens
_BATCHES_PER_SOFTMAX = 4
_WORDS = 2048  # vocabulary entries per piece of the softmax
_NOTHING = -80.0  # nats; smaller exponentials approach denormal numbers: slow and negligible
_PRICE_OF_A_PAIR = 0.7  # of attention, relative to a node's product with one column of a weight matrix
Strategy = Literal["trees", "rows", "exact"]


@dataclass(frozen=True)
class Scorer:
    """A model that scores encoded requests.

    `strategy`: "trees" share common prefixes; "rows" hold one sequence each, for other architectures than BLOOM and mT5; "exact"
    computes one row at a time. `top`: with rows, each number becomes a list: the log-probability, those of that many likeliest
    tokens, and their ids. `edits`: changes to the states, which trees do not allow, since they reorder positions.
    """

    model: Any
    is_encoder_decoder: bool
    strategy: Strategy
    top: int = 0
    edits: Edits | None = None

    def score(self, requests: Sequence[Encoded], budget: int | None) -> Iterator[dict[int, list[Any]]]:
        """Yield log-probabilities by request number, batch by batch, longest first.

        If nothing precedes a text's first token, the text gets one number fewer than it has tokens.

        Args:
            budget: maximum tokens per batch, including padding; None: the default for the device.

        Raises:
            BadInput: a single sequence exceeds the budget or memory, or scores are not finite.
        """
        paths = [self._path(request) for request in requests]
        limit = budget or _BUDGETS.get(self.model.device.type, 1024)
        if paths and (largest := max(path.size for path in paths)) > limit:
            if budget is not None:
                raise BadInput(
                    f"batch_tokens={budget}, but one prompt and text have {largest} tokens; give at least that"
                )
            limit = largest
        todo = set(range(len(paths)))
        while todo:
            computing: list[Row] = []
            try:
                for found in self._scored(self._rows(paths, sorted(todo), limit), paths, limit, computing):
                    scores = np.concatenate([np.asarray(each) for each in found.values()])
                    expect_finite(self.model, "log-probabilities", finite=bool(np.isfinite(scores).all()))
                    todo.difference_update(found)
                    yield found
            except OUT_OF_MEMORY as error:
                if not ran_out(error):
                    raise
                size = padded_size(computing)
                if sum(len(row.reads) for row in computing) == 1:
                    raise BadInput(NOT_EVEN_ONE.format(size)) from error
                limit = halved(size, "tokens")

    def _scored(
        self, rows: Sequence[Row], paths: Sequence[Path], limit: int, computing: list[Row]
    ) -> Iterator[dict[int, list[float]]]:
        """Yield log-probabilities by number; `computing` holds the current batch."""
        waiting: list[_States] = []
        for batch in in_batches(rows, 1 if self.strategy == "exact" else limit, _PAIRS):
            computing[:] = batch
            if self.strategy != "trees":
                yield self._by_rows(batch, paths)
                continue
            waiting.append(self._read(batch, paths))
            if len(waiting) == _BATCHES_PER_SOFTMAX:
                yield self._apply_head(waiting)
                waiting = []
        if waiting:
            yield self._apply_head(waiting)

    def _edited(self, numbers: Sequence[int]) -> AbstractContextManager[None]:
        return self.edits.during(numbers) if self.edits else nullcontext()

    def _path(self, request: Encoded) -> Path:
        """Return the sequence of a request: prompt and text or, with an encoder, the start token and the text."""
        if self.is_encoder_decoder:
            start = np.array([self.model.config.decoder_start_token_id], dtype=np.int32)
            return Path(request.prompt, np.concatenate([start, request.text]), 1)
        nothing = np.empty(0, dtype=np.int32)
        return Path(nothing, np.concatenate([request.prompt, request.text]), max(len(request.prompt), 1))

    def _rows(self, paths: Sequence[Path], numbers: Sequence[int], limit: int) -> list[Row]:
        if self.strategy != "trees":
            rows = [Row(paths[number].source) for number in numbers]
            for row, number in zip(rows, numbers, strict=True):
                row.add(number, paths[number], 0, np.empty(0, dtype=np.int32))
            return rows
        price = 0.0 if self.is_encoder_decoder else _PRICE_OF_A_PAIR / self.model.config.hidden_size
        return lay_out(paths, numbers, pair_price=price, budget=min(limit, math.isqrt(_PAIRS)))

    @torch.inference_mode()
    def _read(self, rows: Sequence[Row], paths: Sequence[Path]) -> "_States":
        """Run a batch of trees through the blocks and return the states that predict a target."""
        asked = _asked(rows, paths)
        unique, where = np.unique(asked.places, return_inverse=True)
        states = TREES[self.model.config.model_type](self.model, rows).flatten(0, 1)
        return _States(states[torch.from_numpy(unique).to(states.device)], where, asked)

    @torch.inference_mode()
    def _apply_head(self, batches: Sequence["_States"]) -> dict[int, list[float]]:
        """Apply the head to the states of several batches at once, which is more efficient than with a few rows."""
        head = self.model.get_output_embeddings().weight
        starts = np.cumsum([0, *(len(batch.states) for batch in batches)])
        where = np.concatenate([start + batch.where for start, batch in zip(starts, batches, strict=False)])
        targets = np.concatenate([batch.asked.targets for batch in batches])
        states = torch.cat([batch.states for batch in batches])
        flat = _log_probabilities(head, states, where, targets, wide=better_wide(self.model))
        ends = np.cumsum([len(batch.where) for batch in batches])[:-1]
        found: dict[int, list[float]] = {}
        for batch, part in zip(batches, np.split(flat, ends), strict=True):
            found |= batch.asked.by_number(part)
        return found

    @torch.inference_mode()
    def _by_rows(self, rows: Sequence[Row], paths: Sequence[Path]) -> dict[int, list[float]]:
        """Compute the scores with transformers' forward: one sequence per row, with its own masks and head."""
        asked, device = _asked(rows, paths), self.model.device
        ids, mask = padded([row.tokens for row in rows], device), real([row.tokens for row in rows], device)
        keep = torch.zeros(ids.numel(), dtype=torch.bool, device=device)
        keep[torch.from_numpy(asked.places).to(device)] = True
        with self._edited([number for row in rows for number, _ in row.reads]):
            if self.is_encoder_decoder:
                sources = [row.source for row in rows]
                read = {"input_ids": padded(sources, device), "attention_mask": real(sources, device)}
                logits = self.model(**read, decoder_input_ids=ids).logits.flatten(0, 1)[keep]
            elif self.model.config.model_type == "bloom":
                logits = self.model(
                    input_ids=ids, attention_mask=mask, logits_to_keep=keep.view_as(ids)
                ).logits
            else:
                logits = self.model(input_ids=ids, attention_mask=mask).logits.flatten(0, 1)[keep]
        logits = logits.reshape(len(asked.targets), -1).float()
        chosen = torch.from_numpy(asked.targets).to(logits.device).long()
        total = logits.logsumexp(1, keepdim=True)
        found = logits.gather(1, chosen[:, None]) - total
        if not self.top:
            return asked.by_number(found[:, 0].cpu().numpy())
        best = logits.topk(self.top)
        return asked.by_number(
            torch.cat([found, best.values - total, best.indices.float()], dim=1).cpu().numpy()
        )


@dataclass(frozen=True)
class _Asked:
    """The targets of a batch: K positions among its nodes, K target tokens, and the number of targets per request."""

    places: np.ndarray
    targets: np.ndarray
    counts: list[tuple[int, int]]

    def by_number(self, flat: np.ndarray) -> dict[int, list[Any]]:
        """Return K answers, grouped by request number."""
        ends = np.cumsum([count for _, count in self.counts])
        parts = np.split(flat, ends[:-1])
        return {number: part.tolist() for (number, _), part in zip(self.counts, parts, strict=True)}


@dataclass(frozen=True)
class _States:
    """States (M, D) that predict a target, and for each of K targets the index of its state."""

    states: torch.Tensor
    where: np.ndarray
    asked: _Asked


def _asked(rows: Sequence[Row], paths: Sequence[Path]) -> _Asked:
    reads = [(row, number, nodes) for row, each in enumerate(rows) for number, nodes in each.reads]
    width = max(1, *(len(row.tokens) for row in rows))
    return _Asked(
        np.concatenate([row * width + nodes for row, _, nodes in reads]),
        np.concatenate([paths[number].tokens[paths[number].first :] for _, number, _ in reads]),
        [(number, len(nodes)) for _, number, nodes in reads],
    )


def _log_probabilities(
    head: torch.Tensor, states: torch.Tensor, places: np.ndarray, targets: np.ndarray, *, wide: bool
) -> np.ndarray:
    """Return the log-probabilities (K,) of K targets at K rows of the states (M, D); the softmax of a row is computed once.

    The head (V, D) is multiplied piece by piece into one buffer that fits into the processor's cache, and the sums of
    exponentials are accumulated as logarithms. `wide`: in float32 whatever the head's precision.
    """
    precision = torch.float32 if wide else head.dtype
    states = states.to(head.device, precision)
    where, words = (torch.from_numpy(each).to(head.device).long() for each in (places, targets))
    total = torch.full((len(states),), -torch.inf, device=head.device)
    chosen = torch.empty(len(targets), device=head.device)
    buffer = states.new_empty(len(states) * _WORDS)
    for start in range(0, len(head), _WORDS):
        piece = head[start : start + _WORDS].to(precision)
        logits = torch.mm(
            states, piece.T, out=buffer[: len(states) * len(piece)].view(-1, len(piece))
        ).float()
        here = ((words >= start) & (words < start + _WORDS)).nonzero()[:, 0]
        chosen[here] = logits[where[here], words[here] - start]
        largest = logits.amax(1)
        sums = logits.sub_(largest[:, None]).clamp_(min=_NOTHING).exp_().sum(1)
        total = torch.logaddexp(total, sums.log_().add_(largest))
    return (chosen - total[where]).cpu().numpy()
