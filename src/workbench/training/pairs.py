"""Conversion of a mixture's pairs to the micro-batches of a step, as in the training of the published models.

Decoder-only: input, a space, target, end token; no separator. Encoder-decoder: input without an end token, target with one and
without a leading space. The published evaluation reads inputs in this way on both sides (no special tokens; `</s>` is scored
in mT0's targets), and the seqio features of T0, on which mT0 is modelled, are declared in this way; that mT0's own training
read its inputs like this is an inference. BLOOMZ packed its pairs into rows of 2,048 tokens; here the rows of a step are
grouped by length instead, which leaves the step's loss unchanged and needs no masks between neighbours.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Protocol

from workbench.errors import BadInput
from workbench.training.batches import Batch, pairs_batch
from workbench.training.mixtures import Pair

Encoded = tuple[list[int], list[int]]


class Drawn(Protocol):
    """A source that returns the pairs of any step."""

    def draw(self, step: int, count: int) -> list[Pair]: ...  # noqa: D102


@dataclass(frozen=True)
class Reader:
    """Token ids of pairs, truncated to the maximum lengths.

    Inputs are truncated at the end, as in the published evaluation. A truncated target has no end token, since it does not
    end there.
    """

    tokenizer: Any
    encoder_decoder: bool
    max_input: int
    max_target: int

    def __post_init__(self) -> None:
        if self.tokenizer.eos_token_id is None:
            raise BadInput("the model's tokenizer has no end token; targets could not end: use another model")

    @property
    def pad(self) -> int:
        """The padding token; padding is masked, so any token will do."""
        found = self.tokenizer.pad_token_id
        return int(self.tokenizer.eos_token_id if found is None else found)

    def encode(self, pairs: Sequence[Pair], tally: Counter[str]) -> list[Encoded]:
        """Return ids of inputs and targets without padding, and count truncations in `tally`.

        Raises:
            BadInput: an input without tokens.
        """
        space = "" if self.encoder_decoder else " "
        inputs = self._ids([pair.inputs for pair in pairs])
        targets = [
            [*ids, self.tokenizer.eos_token_id] for ids in self._ids([space + pair.targets for pair in pairs])
        ]
        for pair, source in zip(pairs, inputs, strict=True):
            if not source:
                raise BadInput(f"the input {pair.inputs[:60]!r} has no tokens; leave the pair out")
        tally["pairs"] += len(pairs)
        tally["inputs_cut"] += sum(len(ids) > self.max_input for ids in inputs)
        tally["targets_cut"] += sum(len(ids) > self.max_target for ids in targets)
        return [(i[: self.max_input], t[: self.max_target]) for i, t in zip(inputs, targets, strict=True)]

    def _ids(self, texts: list[str]) -> list[list[int]]:
        found = self.tokenizer(texts, add_special_tokens=False, truncation=False, verbose=False)
        return [list(ids) for ids in found["input_ids"]]


@dataclass(frozen=True)
class Batches:
    """The micro-batches of any step: its pairs, longest first, split into `parts` of about equal numbers of rows.

    The weights of all labels of a step sum to 1. `tally` counts the pairs, truncations, tokens and padding of all steps made.
    """

    pool: Drawn
    reader: Reader
    batch: int
    parts: int
    tally: Counter[str] = field(default_factory=Counter)

    def __call__(self, step: int) -> list[Batch]:
        """Return the micro-batches of a step."""
        encoded = self.reader.encode(self.pool.draw(step, self.batch), self.tally)
        encoded.sort(key=self._length, reverse=True)
        bounds = [len(encoded) * part // self.parts for part in range(self.parts + 1)]
        groups = [encoded[start:end] for start, end in pairwise(bounds)]
        return [self._micro_batch(group) for group in groups if group]

    def _length(self, pair: Encoded) -> tuple[int, int]:
        source, target = pair
        return (len(source), len(target)) if self.reader.encoder_decoder else (len(source) + len(target), 0)

    def _micro_batch(self, group: list[Encoded]) -> Batch:
        made = pairs_batch(group, self.reader.pad, self.reader.encoder_decoder)
        self.tally["tokens"] += int(made.attention_mask.sum())
        self.tally["padding"] += int((made.attention_mask == 0).sum())
        return replace(made, weights=made.weights * (len(group) / self.batch))
