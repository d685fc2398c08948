"""Token sequences that begin alike become trees, each laid out as one row: what they share is computed once.

A row holds the nodes of a tree, parents before children; a node sees its ancestors and itself. The choices of a prompt
branch off after it, and prompts that begin alike (a premise, a few-shot header) branch off after their common part,
where that is cheaper than reading it again. The last token of a sequence predicts nothing and is left out, so a
single-token choice costs nothing beyond its prompt. No torch here.
"""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Path:
    """One sequence to be scored.

    `source`: what an encoder reads first (empty without one); `tokens`: int32, prompt and text; `first`: the place of
    the first scored token, at least 1, since something must come before it.
    """

    source: np.ndarray
    tokens: np.ndarray
    first: int

    @property
    def size(self) -> int:
        """How many tokens must be computed for it alone."""
        return len(self.source) + len(self.tokens) - 1


@dataclass
class Row:
    """A tree of N nodes: `branches` are (first node, parent) of its unbranched stretches, parent -1 at a root.

    `reads` says for each sequence (by number) which nodes predict its scored tokens.
    """

    source: np.ndarray
    tokens: "array[int]" = field(default_factory=lambda: array("i"))
    depths: "array[int]" = field(default_factory=lambda: array("i"))
    branches: list[tuple[int, int]] = field(default_factory=list)
    reads: list[tuple[int, np.ndarray]] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Tokens of the source and nodes together."""
        return len(self.source) + len(self.tokens)

    def add(self, number: int, path: Path, shared: int, spine: np.ndarray) -> np.ndarray:
        """Add a sequence whose first `shared` tokens stand at the nodes `spine[:shared]`; returns its own nodes."""
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
        """What each node sees, bool (width, width); what lies beyond the row's own nodes is of no use to anyone."""
        seen = np.tri(width, dtype=bool)
        ends = [start for start, _ in self.branches[1:]] + [len(self.tokens)]
        for (start, parent), end in zip(self.branches, ends, strict=False):
            seen[start:end, :start] = seen[parent, :start] if parent >= 0 else False
        return seen


def lay_out(paths: Sequence[Path], numbers: Sequence[int], *, pair_price: float, budget: int) -> list[Row]:
    """Gather sequences into rows, none above `budget` tokens unless a single sequence is.

    Args:
        numbers: which of the paths are wanted.
        pair_price: what one node seeing one other costs, in units of what one node costs apart from that. Sequences join
            where the tokens they share are worth more than the longer row costs; 0 joins whatever shares a source.
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
    """A key that makes neighbours of sequences that begin alike."""
    return path.source.astype(">i4").tobytes(), path.tokens.astype(">i4").tobytes()


def _shared(one: Path, other: Path) -> int:
    """How many tokens two sequences share at their beginning, none if an encoder reads something else before."""
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
    """Rows of similar length together, longest first, padded to at most `budget` tokens (or a single row).

    `pairs` bounds how many pairs of tokens attend to each other in a batch, which grows with the square of the length.
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
    """Tokens that a batch computes, padding included."""
    return len(rows) * (max(len(row.source) for row in rows) + max(len(row.tokens) for row in rows))
