"""Rows that grow token by token in llama.cpp, each a sequence; `continuous_batch` drives them."""

from collections.abc import Sequence

import numpy as np
import torch

from workbench.engines.gguf.llama import Context, Limits, Nodes, Weights

_STEP = 512  # tokens
_CACHE = 2**30  # bytes of keys and values, at most, unless one row takes more


class CausalDecoder:
    """A decoder's rows; each has a cache of its own."""

    def __init__(self, weights: Weights, rows: int, longest: int, threads: int) -> None:
        self.context = Context(weights, Limits(rows * longest, rows, _STEP, rows, shared=False), threads)
        self.lengths: list[int] = []
        self.sequences: list[int] = []
        self.free = list(range(rows))[::-1]

    def begin(self, prompts: Sequence[list[int]]) -> list[int]:
        """Process new prompts except their last tokens, which are returned as input to the first step."""
        new = [self.free.pop() for _ in prompts]
        nodes = _flat([prompt[:-1] for prompt in prompts], new)
        for start in range(0, len(nodes.tokens), _STEP):
            self.context.decode(nodes.part(start, start + _STEP))
        self.sequences += new
        self.lengths += [len(prompt) - 1 for prompt in prompts]
        return [prompt[-1] for prompt in prompts]

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """Append one token to every row and return the logits that follow it, shape (n, V)."""
        nodes = Nodes(
            np.array(tokens),
            np.array(self.lengths),
            [[one] for one in self.sequences],
            np.ones(len(tokens), bool),
        )
        logits = torch.from_numpy(self.context.decode(nodes))
        self.lengths = [length + 1 for length in self.lengths]
        return logits

    def drop(self, row: int) -> None:
        """Remove a row; the last row takes its place."""
        self.context.remove(self.sequences[row])
        self.free.append(self.sequences[row])
        for each in (self.sequences, self.lengths):
            each[row] = each[-1]
            each.pop()


class CrossDecoder:
    """An encoder–decoder's rows; all that are active are read by the encoder again when new ones begin, since llama.cpp holds the
    states of one input.
    """

    def __init__(
        self, weights: Weights, rows: int, longest: int, answer: int, start: int, threads: int
    ) -> None:
        limits = Limits(rows * (answer + 1), rows, max(_STEP, rows * longest), rows)
        self.context, self.start = Context(weights, limits, threads), start
        self.lengths: list[int] = []
        self.sequences: list[int] = []
        self.prompts: list[list[int]] = []
        self.free = list(range(rows))[::-1]

    def begin(self, prompts: Sequence[list[int]]) -> list[int]:
        """Encode the prompts and return the first step's input tokens."""
        self.sequences += [self.free.pop() for _ in prompts]
        self.prompts += prompts
        self.lengths += [0] * len(prompts)
        self.context.encode(_flat(self.prompts, self.sequences))
        return [self.start] * len(prompts)

    step = CausalDecoder.step

    def drop(self, row: int) -> None:
        """Remove a row; the last row takes its place."""
        CausalDecoder.drop(self, row)  # type: ignore[arg-type]
        self.prompts[row] = self.prompts[-1]
        self.prompts.pop()


def rows_that_fit(rows: int, longest: int, bytes_per_token: int) -> int:
    """Return how many rows of so many tokens have room in the cache."""
    return max(1, min(rows, _CACHE // max(1, longest * bytes_per_token)))


def _flat(prompts: Sequence[Sequence[int]], sequences: Sequence[int]) -> Nodes:
    """Return the tokens of several prompts, none of which gives logits."""
    lengths = [len(prompt) for prompt in prompts]
    tokens = np.array([token for prompt in prompts for token in prompt], np.int32)
    positions = np.concatenate([np.arange(length) for length in lengths])
    members = [[one] for one, length in zip(sequences, lengths, strict=True) for _ in range(length)]
    return Nodes(tokens, positions, members, np.zeros(len(tokens), bool))
