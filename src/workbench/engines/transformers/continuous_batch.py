"""Generation token by token: finished rows leave the batch, and waiting prompts take their places.

A step costs nearly the same for one row as for sixteen, because it is dominated by reading the weights; a batch that waits for
its slowest row wastes most of its steps.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch

from workbench.engines.transformers.out_of_memory import parts
from workbench.engines.transformers.sampling import RowNoise, noise_source, warpers
from workbench.models.requests import Decoding

See = Callable[[int, list[int]], None]  # gets the number of a prompt, and its answer's token ids so far


class Decoder(Protocol):
    """Active rows that grow token by token: those that have begun and were not dropped."""

    def begin(self, prompts: Sequence[list[int]]) -> list[int]:
        """Add new rows after the active ones and return the input tokens of their first step."""

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """Append one token to every row and return the logits that follow it, shape (n, V)."""

    def drop(self, row: int) -> None:
        """Remove a row; the last row takes its place."""


@dataclass(frozen=True)
class Prompt:
    """A prompt's token ids, and the text that seeds its noise when sampling."""

    ids: list[int]
    seed: str


@dataclass
class _Row:
    number: int
    last: int
    noise: torch.Generator
    tokens: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class ContinuousBatch:
    """A decoder and its end tokens; `expect_finite` raises an error if it is given False; `see` is called after each token."""

    decoder: Decoder
    ends: frozenset[int]
    expect_finite: Callable[[bool], None]
    see: See | None = None

    @torch.inference_mode()
    def generate(
        self, prompts: Sequence[Prompt], order: Sequence[int], decoding: Decoding, rows: int
    ) -> Iterator[dict[int, list[int]]]:
        """Yield generated tokens by prompt number; waiting prompts enter, in order, once a quarter of the rows is free."""
        waiting = deque(order)
        lengths = [len(prompt.ids) for prompt in prompts]
        running: list[_Row] = []
        finished: dict[int, list[int]] = {}
        while waiting or running:
            free = rows - len(running)
            if waiting and (not running or free >= max(1, rows // 4)):
                if finished:
                    yield finished
                    finished = {}
                coming = [waiting.popleft() for _ in range(min(free, len(waiting)))]
                for part in parts(coming, lengths, rows):
                    first = self.decoder.begin([prompts[number].ids for number in part])
                    running += [
                        _Row(n, t, noise_source(prompts[n].seed)) for n, t in zip(part, first, strict=True)
                    ]
            self._choose(running, self.decoder.step([row.last for row in running]), decoding)
            for place in reversed(range(len(running))):
                row = running[place]
                if self.see:
                    self.see(row.number, row.tokens)
                if row.last in self.ends or len(row.tokens) == decoding.max_new_tokens:
                    finished[row.number] = row.tokens
                    self.decoder.drop(place)
                    running[place] = running[-1]
                    running.pop()
        yield finished

    def _choose(self, rows: Sequence[_Row], logits: torch.Tensor, decoding: Decoding) -> None:
        """Choose the next token of each row from logits (n, V)."""
        logits = logits.float()
        for place, row in enumerate(rows):
            if len(row.tokens) < decoding.min_new_tokens:
                logits[place, sorted(self.ends)] = -torch.inf
        if decoding.do_sample:
            none = torch.LongTensor()  # these processors do not use the previous tokens
            logits = RowNoise([row.noise for row in rows])(none, warpers(decoding)(none, logits))
        tokens = logits.argmax(-1, keepdim=True)  # selects a NaN if there is one
        self.expect_finite(bool(logits.gather(1, tokens).isfinite().all()))
        for row, token in zip(rows, tokens[:, 0].tolist(), strict=True):
            row.last = token
            row.tokens.append(token)
