"""Log-probabilities of texts after their prompts, computed by llama.cpp; shared prefixes are computed once.

Each text is a sequence. A token that several texts begin with is computed once and belongs to the sequences of all of them, and
logits are computed only where they predict a scored token. An encoder's input is read once for all texts after it.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from workbench.engines.gguf.llama import Context, Limits, Nodes, Weights
from workbench.engines.transformers.encoding import Encoded
from workbench.errors import BadInput

SEQUENCES = 64  # that lie in a cache together
TOKENS, MOST_TOKENS = (
    1024,
    2048,
)  # of a batch; every token is compared with all others, those of other texts included
_STEP, _OUTPUTS = 512, 128  # tokens and rows of logits of one step
_NOTHING = np.empty(0, dtype=np.int32)
Where = dict[
    int, list[tuple[int, int, int]]
]  # of a node: (number of the text, place among its tokens, token that follows)


@dataclass(frozen=True)
class Text:
    """A sequence to score: the encoder's input, the decoder's tokens (int32), and the position of the first scored one."""

    source: np.ndarray
    tokens: np.ndarray
    first: int


@dataclass
class Batch:
    """Texts that are computed together, as a tree of N nodes: `members` are the sequences that a node belongs to."""

    numbers: list[int] = field(default_factory=list)
    sources: list[tuple[np.ndarray, list[int]]] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    members: list[list[int]] = field(default_factory=list)
    reads: Where = field(default_factory=lambda: defaultdict(list))
    spine: list[int] = field(default_factory=list)
    last: Text | None = None

    @property
    def size(self) -> int:
        """Tokens to compute."""
        return len(self.tokens) + sum(len(source) for source, _ in self.sources)

    def shared(self, text: Text) -> int:
        """Return how many tokens a text has in common with the last one; -1 if an encoder's input differs."""
        if self.last is None or not np.array_equal(self.last.source, text.source):
            return -1
        length = min(len(self.last.tokens), len(text.tokens)) - 1
        differ = np.flatnonzero(self.last.tokens[:length] != text.tokens[:length])
        return int(differ[0]) if len(differ) else length

    def grown(self, text: Text) -> int:
        """Return the size with another text."""
        shared = self.shared(text)
        return self.size + len(text.tokens) - 1 - max(shared, 0) + (len(text.source) if shared < 0 else 0)

    def add(self, number: int, text: Text) -> None:
        """Add a text as the next sequence."""
        sequence, shared = len(self.numbers), self.shared(text)
        if shared < 0:
            self.sources.append((text.source, []))
        self.sources[-1][1].append(sequence)
        self.spine = self.spine[: max(shared, 0)]
        for node in self.spine:
            self.members[node].append(sequence)
        for position in range(len(self.spine), len(text.tokens) - 1):
            self.spine.append(len(self.tokens))
            self.tokens.append(int(text.tokens[position]))
            self.positions.append(position)
            self.members.append([sequence])
        for place, position in enumerate(range(text.first - 1, len(text.tokens) - 1)):
            self.reads[self.spine[position]].append((number, place, int(text.tokens[position + 1])))
        self.numbers.append(number)
        self.last = text

    def nodes(self) -> Nodes:
        """Return the decoder's tokens."""
        wanted = np.zeros(len(self.tokens), dtype=bool)
        wanted[list(self.reads)] = True
        return Nodes(
            np.array(self.tokens, np.int32), np.array(self.positions, np.int32), self.members, wanted
        )

    def read_first(self) -> Nodes:
        """Return the encoder's tokens."""
        tokens = [source for source, _ in self.sources]
        members = [each for source, each in self.sources for _ in range(len(source))]
        positions = np.concatenate([np.arange(len(source)) for source in tokens])
        return Nodes(np.concatenate(tokens), positions, members, np.ones(len(members), dtype=bool))


class Scorer:
    """A model that scores encoded texts; a context is kept for the next call if it is large enough."""

    def __init__(self, weights: Weights, start: int | None, threads: int) -> None:
        self.weights, self.start, self.threads = weights, start, threads
        self.context: Context | None = None

    def score(
        self, requests: Sequence[Encoded], budget: int | None, *, alone: bool = False, top: int = 0
    ) -> Iterator[dict[int, list[Any]]]:
        """Yield log-probabilities by request number, batch by batch.

        If nothing precedes a text's first token, the text gets one number fewer than it has tokens.

        Args:
            budget: the most tokens of a batch, up to `MOST_TOKENS`; None: `TOKENS`. A text that is larger is a batch of its own.
            alone: every text in a batch of its own.
            top: instead of a number, a list: the log-probability, those of so many likeliest tokens, and their ids.

        Raises:
            BadInput: a text exceeds the budget, or scores are not finite.
        """
        texts = [self._text(request) for request in requests]
        largest = max((len(text.source) + len(text.tokens) - 1 for text in texts), default=0)
        if budget is not None and largest > budget:
            raise BadInput(
                f"batch_tokens={budget}, but one prompt and text have {largest} tokens; give at least that"
            )
        limit = max(largest, min(budget or TOKENS, MOST_TOKENS))
        for batch in _batches(texts, limit, 1 if alone else SEQUENCES):
            yield self._scored(batch, texts, limit, top)

    def _text(self, request: Encoded) -> Text:
        if self.start is not None:
            return Text(request.prompt, np.concatenate([[self.start], request.text]).astype(np.int32), 1)
        return Text(_NOTHING, np.concatenate([request.prompt, request.text]), max(len(request.prompt), 1))

    def _scored(self, batch: Batch, texts: Sequence[Text], limit: int, top: int) -> dict[int, list[Any]]:
        found: dict[int, list[Any]] = {
            number: [0.0] * (len(texts[number].tokens) - texts[number].first) for number in batch.numbers
        }
        if not batch.tokens:  # single tokens that nothing precedes
            return found
        context = self._context(limit)
        context.clear()
        if self.start is not None:
            context.encode(batch.read_first())
        nodes = batch.nodes()
        for start, end in _steps(nodes.wanted, context.limits):
            part = nodes.part(start, end)
            logits = torch.from_numpy(context.decode(part))
            if not len(logits):
                continue
            asked = [
                (row, *read)
                for row, node in enumerate(start + np.flatnonzero(part.wanted))
                for read in batch.reads[int(node)]
            ]
            rows, numbers, places, tokens = zip(*asked, strict=True)
            total = logits.logsumexp(1)
            chosen = logits[list(rows), list(tokens)] - total[list(rows)]
            if not bool(chosen.isfinite().all()):
                raise not_finite()
            values: list[Any] = chosen.tolist()
            if top:
                best = logits.topk(top)
                likely = torch.cat([best.values - total[:, None], best.indices.float()], dim=1).tolist()
                values = [[value, *likely[row]] for value, row in zip(values, rows, strict=True)]
            for number, place, value in zip(numbers, places, values, strict=True):
                found[number][place] = value
        return found

    def _context(self, limit: int) -> Context:
        if self.context is None or self.context.limits.cells < limit:
            self.context = None  # free the smaller one first
            step = max(_STEP, limit) if self.start is not None else _STEP  # an encoder reads all at once
            self.context = Context(self.weights, Limits(limit, SEQUENCES, step, _OUTPUTS), self.threads)
        return self.context


def not_finite() -> BadInput:
    """Return the error for results that are not finite."""
    return BadInput(
        "llama.cpp's results are not finite (NaN or infinity), and are not stored: mT5 overflows in F16, take BF16, Q8_0 or F32; or "
        "fetch the file again"
    )


def _batches(texts: Sequence[Text], limit: int, sequences: int) -> Iterator[Batch]:
    """Yield texts in batches of at most so many tokens and sequences, those with common beginnings next to each other."""
    batch = Batch()
    for number in sorted(range(len(texts)), key=lambda number: _order(texts[number])):
        if batch.numbers and (len(batch.numbers) == sequences or batch.grown(texts[number]) > limit):
            yield batch
            batch = Batch()
        batch.add(number, texts[number])
    if batch.numbers:
        yield batch


def _order(text: Text) -> tuple[bytes, bytes]:
    return text.source.astype(">i4").tobytes(), text.tokens.astype(">i4").tobytes()


def _steps(wanted: np.ndarray, limits: Limits) -> Iterator[tuple[int, int]]:
    """Yield the borders of steps of at most `limits.tokens` tokens, of which at most `limits.outputs` give logits."""
    start, outputs = 0, 0
    for node, is_wanted in enumerate(wanted.tolist()):
        if node - start == limits.tokens or outputs + is_wanted > limits.outputs:
            yield start, node
            start, outputs = node, 0
        outputs += is_wanted
    if len(wanted):
        yield start, len(wanted)
