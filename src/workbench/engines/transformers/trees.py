"""Layout of token sequences with common prefixes as trees, one per row, so that shared tokens are computed once.

A row holds the nodes of a tree, parents before children; a node attends to its ancestors and itself. The choices of a prompt
branch off after it, and prompts with a common prefix (a premise, a few-shot header) branch off after that, if this is cheaper
than computing the prefix again. The last token of a sequence predicts nothing and is left out, so a single-token choice adds
no cost to its prompt. This module does not import torch.
"""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Path:
    """One sequence to be scored.

    `source`: the encoder's input (empty without an encoder); `tokens`: int32, prompt and text; `first`: the position of the first
    scored token, at least 1, since a token must precede it.
    """

    source: np.ndarray
    tokens: np.ndarray
    first: int

    @property
    def size(self) -> int:
        """The number of tokens to be computed if it shares none."""
        return len(self.source) + len(self.tokens) - 1


@dataclass
class Row:
    """A tree of N nodes: `branches` are (first node, parent) of its unbranched segments; a root has the parent -1.

    `reads` gives for each sequence (by number) the nodes that predict its scored tokens.
    """

    source: np.ndarray
    tokens: "array[int]" = field(default_factory=lambda: array("i"))
    depths: "array[int]" = field(default_factory=lambda: array("i"))
    branches: list[tuple[int, int]] = field(default_factory=list)
    reads: list[tuple[int, np.ndarray]] = field(default_factory=list)

    @property
    def size(self) -> int:
        """The number of source tokens plus nodes."""
        return len(self.source) + len(self.tokens)

    def add(self, number: int, path: Path, shared: int, spine: np.ndarray) -> np.ndarray:
        """Add a sequence whose first `shared` tokens are the nodes `spine[:shared]`, and return all its nodes."""
        new = path.tokens[shared:-1]
        start = len(self.tokens)
        if len(new):
            self.branches.append((start, int(spine[shared - 1]) if shared else -1))
            self.tokens.extend(new.tolist())
            self.depths.extend(range(shared, shared + len(new)))
        nodes = np.concatenate([spine[:shared], np.arange(start, start + len(new), dtype=np.int32)])
        self.reads.append((number, nodes[path.first - 1 :]))
        return nodes

    def visible(self, width: int) -> np.ndarray:
        """Return which nodes each node attends to, bool (width, width); entries beyond the row's own nodes are meaningless."""
        seen = np.tri(width, dtype=bool)
        ends = [start for start, _ in self.branches[1:]] + [len(self.tokens)]
        for (start, parent), end in zip(self.branches, ends, strict=False):
            seen[start:end, :start] = seen[parent, :start] if parent >= 0 else False
        return seen


def lay_out(paths: Sequence[Path], numbers: Sequence[int], *, pair_price: float, budget: int) -> list[Row]:
    """Arrange sequences into rows of at most `budget` tokens, unless a single sequence is longer.

    Args:
        numbers: which of the paths to include.
        pair_price: cost of one node attending to another, relative to the rest of a node's cost. A sequence joins a row if the
            tokens it shares save more than the longer row costs; with 0, all sequences with a common source share rows.
    """
    rows: list[Row] = []
    last, spine = None, np.empty(0, dtype=np.int32)
    for number in sorted(numbers, key=lambda number: _order(paths[number])):
        path = paths[number]
        shared = 0 if last is None else _shared(last, path)
        if not shared or not _joins(rows[-1], path, shared, pair_price, budget):
            rows.append(Row(path.source))
            shared = 0
        spine = rows[-1].add(number, path, shared, spine)
        last = path
    return rows


def _order(path: Path) -> tuple[bytes, bytes]:
    """Return a sort key that places sequences with a common prefix next to each other."""
    return path.source.astype(">i4").tobytes(), path.tokens.astype(">i4").tobytes()


def _shared(one: Path, other: Path) -> int:
    """Return the length of two sequences' common prefix; 0 if their encoder inputs differ."""
    if not np.array_equal(one.source, other.source):
        return 0
    length = min(len(one.tokens), len(other.tokens)) - 1
    differ = np.flatnonzero(one.tokens[:length] != other.tokens[:length])
    return int(differ[0]) if len(differ) else length


def _joins(row: Row, path: Path, shared: int, pair_price: float, budget: int) -> bool:
    nodes, alone = len(row.tokens), len(path.tokens) - 1
    together = nodes + alone - shared
    if len(row.source) + together > budget:
        return False
    return shared + len(path.source) >= pair_price * (together**2 - nodes**2 - alone**2)


def in_batches(rows: Sequence[Row], budget: int, pairs: int) -> Iterator[list[Row]]:
    """Yield batches of rows of similar length, longest first, of at most `budget` tokens including padding (or a single row).

    `pairs` limits the number of token pairs in attention per batch, which grows with the square of the length.
    """
    batch: list[Row] = []
    for row in sorted(rows, key=lambda row: (len(row.source), len(row.tokens)), reverse=True):
        size = padded_size([*batch, row])
        if batch and (size > budget or size**2 > pairs * (len(batch) + 1)):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def padded_size(rows: Sequence[Row]) -> int:
    """Return the number of tokens that a batch computes, including padding."""
    return len(rows) * (max(len(row.source) for row in rows) + max(len(row.tokens) for row in rows))
