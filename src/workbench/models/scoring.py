"""Log-probabilities of texts after their prompts: what sequences share is computed once, logits only where they count.

BLOOM and mT5 go through trees (see `rows`); any other architecture, and the exact mode, through transformers' own
forward, one sequence per row. The softmax is in float32 over the whole vocabulary, in pieces, so that memory depends on
the batch's budget and not on the number of requests.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from workbench.errors import BadInput
from workbench.models import bloom, mt5
from workbench.models.encoding import Encoded
from workbench.models.memory import NOT_EVEN_ONE, OUT_OF_MEMORY, go_on_with_half, ran_out
from workbench.models.padding import padded, real
from workbench.models.precision import better_wide
from workbench.models.rows import Path, Row, in_batches, lay_out, padded_size

TREES = {"bloom": bloom.states_of_trees, "mt5": mt5.states_of_trees}
_BUDGETS = {"cpu": 1024, "cuda": 16_384}  # tokens per batch
_WORDS = 2048  # words of the vocabulary per piece of the softmax
_NOTHING = -80.0  # nats; smaller exponentials would be denormal numbers: slow, and of no weight
_PRICE_OF_A_PAIR = 0.7  # of attention, against 1 for a multiplication of a node by a weight matrix's column
Manner = Literal["trees", "rows", "exact"]


@dataclass(frozen=True)
class Scorer:
    """A model that scores encoded requests.

    `manner`: "trees" share what sequences have in common; "rows" hold a sequence each, for architectures that have no trees
    here; "exact" takes one row at a time.
    """

    model: Any
    is_encoder_decoder: bool
    manner: Manner

    def score(self, requests: Sequence[Encoded], budget: int | None) -> Iterator[dict[int, list[float]]]:
        """Yield log-probabilities by the request's number, batch by batch, longest first.

        A text whose first token has nothing before it gets one number less than it has tokens.

        Args:
            budget: at most so many tokens in a batch, padding included; None: what suits the device.

        Raises:
            BadInput: one sequence alone is larger than the budget, or than memory.
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
            rows = self._rows(paths, sorted(todo), limit)
            try:
                for batch in in_batches(rows, 1 if self.manner == "exact" else limit):
                    found = self._score_batch(batch, paths)
                    todo.difference_update(found)
                    yield found
            except OUT_OF_MEMORY as error:
                if not ran_out(error):
                    raise
                size = padded_size(batch)
                if sum(len(row.reads) for row in batch) == 1:
                    raise BadInput(NOT_EVEN_ONE.format(size)) from error
                limit = go_on_with_half(size, "tokens")

    def _path(self, request: Encoded) -> Path:
        """An encoder reads the prompt and the decoder starts anew, or the prompt stands before the text."""
        if self.is_encoder_decoder:
            start = np.array([self.model.config.decoder_start_token_id], dtype=np.int32)
            return Path(request.prompt, np.concatenate([start, request.text]), 1)
        nothing = np.empty(0, dtype=np.int32)
        return Path(nothing, np.concatenate([request.prompt, request.text]), max(len(request.prompt), 1))

    def _rows(self, paths: Sequence[Path], numbers: Sequence[int], limit: int) -> list[Row]:
        if self.manner != "trees":
            rows = [Row(paths[number].source) for number in numbers]
            for row, number in zip(rows, numbers, strict=True):
                row.add(number, paths[number], 0, np.empty(0, dtype=np.int32))
            return rows
        price = 0.0 if self.is_encoder_decoder else _PRICE_OF_A_PAIR / self.model.config.hidden_size
        return lay_out(paths, numbers, pair_price=price, budget=limit)

    @torch.inference_mode()
    def _score_batch(self, rows: Sequence[Row], paths: Sequence[Path]) -> dict[int, list[float]]:
        reads = [(row, number, nodes) for row, each in enumerate(rows) for number, nodes in each.reads]
        width = max(1, *(len(row.tokens) for row in rows))
        places = np.concatenate([row * width + nodes for row, _, nodes in reads])
        targets = np.concatenate([paths[number].tokens[paths[number].first :] for _, number, _ in reads])
        if self.manner == "trees":
            states = TREES[self.model.config.model_type](self.model, rows).flatten(0, 1)
            head = self.model.get_output_embeddings().weight
            flat = _from_states(head, states, places, targets, wide=better_wide(self.model))
        else:
            flat = self._plainly(rows, places, targets)
        ends = np.cumsum([len(nodes) for _, _, nodes in reads])
        parts = np.split(flat, ends[:-1])
        return {number: part.tolist() for (_, number, _), part in zip(reads, parts, strict=True)}

    def _plainly(self, rows: Sequence[Row], places: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """As transformers computes it: one sequence per row, its own masks, its own head."""
        device = self.model.device
        ids, mask = padded([row.tokens for row in rows], device), real([row.tokens for row in rows], device)
        keep = torch.zeros(ids.numel(), dtype=torch.bool, device=device)
        keep[torch.from_numpy(places).to(device)] = True
        if self.is_encoder_decoder:
            sources = [row.source for row in rows]
            read = {"input_ids": padded(sources, device), "attention_mask": real(sources, device)}
            logits = self.model(**read, decoder_input_ids=ids).logits.flatten(0, 1)[keep]
        elif self.model.config.model_type == "bloom":
            logits = self.model(input_ids=ids, attention_mask=mask, logits_to_keep=keep.view_as(ids)).logits
        else:
            logits = self.model(input_ids=ids, attention_mask=mask).logits.flatten(0, 1)[keep]
        logits = logits.reshape(len(targets), -1).float()
        chosen = torch.from_numpy(targets).to(logits.device).long()
        return (logits.gather(1, chosen[:, None])[:, 0] - logits.logsumexp(1)).cpu().numpy()


def _from_states(
    head: torch.Tensor, states: torch.Tensor, places: np.ndarray, targets: np.ndarray, *, wide: bool
) -> np.ndarray:
    """Log-probabilities (K,) of K targets at K places of the states (N, D), a place's softmax computed once.

    The head (V, D) is multiplied piece by piece into one buffer that stays in the processor's cache, and the sums of
    exponentials are added up as logarithms. `wide`: in float32 whatever the head's precision.
    """
    precision = torch.float32 if wide else head.dtype
    unique, inverse = np.unique(places, return_inverse=True)
    kept = states[torch.from_numpy(unique).to(states.device)].to(head.device, precision)
    where, words = torch.from_numpy(inverse).to(head.device), torch.from_numpy(targets).to(head.device).long()
    total = torch.full((len(unique),), -torch.inf, device=head.device)
    chosen = torch.empty(len(targets), device=head.device)
    buffer = kept.new_empty(len(unique) * _WORDS)
    for start in range(0, len(head), _WORDS):
        piece = head[start : start + _WORDS].to(precision)
        logits = torch.mm(kept, piece.T, out=buffer[: len(unique) * len(piece)].view(-1, len(piece))).float()
        here = ((words >= start) & (words < start + _WORDS)).nonzero()[:, 0]
        chosen[here] = logits[where[here], words[here] - start]
        largest = logits.amax(1)
        sums = logits.sub_(largest[:, None]).clamp_(min=_NOTHING).exp_().sum(1)
        total = torch.logaddexp(total, sums.log_().add_(largest))
    return (chosen - total[where]).cpu().numpy()
