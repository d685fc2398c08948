"""What a member reads at each step of its training: documents for bases, prompts for finetuned members.

A batch is a pure function of (seed, member, step), so an interrupted training continues with the same data.
"""

import json
import random
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any

from transformers import PreTrainedTokenizerFast

from miniatures.corpus import Dials, Document, document
from miniatures.examples import MIXTURES, Wordings, draw_example, read_wordings
from miniatures.tokenizer import SENTINELS, build
from miniatures.world import World, read_world
from workbench.paths import data_path
from workbench.training import Batch, Plan, corrupt, cut, draw_spans, next_token_batch, pairs_batch

PARTS = 3  # a step's rows are split into this many parts of similar length
VALUES_OF_SCENE = 0.7  # of restating sentences, if single values are hidden
HIDDEN_OF_SCENE = 0.6  # of a scene's restating sentences, if whole ones are hidden


@dataclass(frozen=True)
class Phase:
    """A phase of pretraining: its number of steps, and the composition of its documents."""

    steps: int
    dials: Dials


@dataclass(frozen=True)
class Member:
    """One checkpoint of the family.

    A base is pretrained on the documents of its phases, one after the other, from scratch or from an earlier stage; other
    members are finetuned from their base on a mixture.
    """

    name: str
    architecture: str  # "bloom" or "mt5"
    plan: Plan
    phases: tuple[Phase, ...] = ()
    base: str | None = None
    mixture: str | None = None  # a name of MIXTURES
    stage: bool = False  # an intermediate stage of another member, deleted afterwards
    rows: int = 64  # documents or pairs per step
    hide_parallel: float = (
        0.8  # mT5: share of parallel documents in which one whole sentence is the hidden span
    )
    hide_again: float = 0.5  # mT5: share of the other documents in which whole sentences are hidden
    hide_values: float = (
        0.0  # mT5: share of scenes and rolls in which single values are hidden; else short spans
    )
    stream: str = ""  # seeds its documents; its name by default

    def dials_at(self, step: int) -> Dials:
        """Return the composition of the documents of a step."""
        for phase in self.phases:
            if step < phase.steps:
                return phase.dials
            step -= phase.steps
        return self.phases[-1].dials


@dataclass(frozen=True)
class Kit:
    """The inputs of training: the world, the wordings of the mixtures, and the shared BPE."""

    world: World
    wordings: Wordings
    tokens: list[str]
    merges: list[tuple[str, str]]

    def tokenizer(self, architecture: str) -> PreTrainedTokenizerFast:
        """Return the BPE as a tokenizer of an architecture."""
        return build(self.tokens, self.merges, encoder_decoder=architecture == "mt5")


@lru_cache(maxsize=1)
def read_kit() -> Kit:
    """Read the world, the wordings and the shared BPE that ship with the package."""
    bpe = json.loads(data_path("mini/bpe.json").read_text(encoding="utf-8"))
    merges = [(left, right) for left, right in bpe["merges"]]
    return Kit(read_world(), read_wordings(), bpe["tokens"], merges)


def batch_maker(one: Member, kit: Kit, tokenizer: Any, seed: int) -> Callable[[int], list[Batch]]:
    """Return the function that makes a member's batch at a step, in parts of similar length."""
    make = finetuning if one.mixture else {"bloom": next_token, "mt5": span_corruption}[one.architecture]
    stream = "finetuning" if one.mixture else one.stream or one.name  # the mixtures share their items
    return lambda step: cut(make(one, kit, tokenizer, step, random.Random(f"{seed} {stream} {step}")), PARTS)


def next_token(one: Member, kit: Kit, tokenizer: Any, step: int, rng: random.Random) -> Batch:
    """Return documents for the decoder-only base, each with an end token."""
    dials = one.dials_at(step)
    texts = [document(kit.world, dials, rng).text for _ in range(one.rows)]
    rows = [[*found.ids, tokenizer.eos_token_id] for found in _encode(tokenizer, texts)]
    return next_token_batch(rows, tokenizer.pad_token_id)


def span_corruption(one: Member, kit: Kit, tokenizer: Any, step: int, rng: random.Random) -> Batch:
    """Return documents with hidden spans for the encoder-decoder base; half of the inputs end with `</s>`.

    In a share of the documents whole restating sentences are hidden, mostly except for their first word: with short spans
    only, the base does not learn to translate. In others single values are hidden, which must be found by their context.
    """
    sentinels = tokenizer.convert_tokens_to_ids(list(SENTINELS))
    documents = [document(kit.world, one.dials_at(step), rng) for _ in range(one.rows)]
    pairs = []
    for drawn, found in zip(documents, _encode(tokenizer, [one.text for one in documents]), strict=True):
        spans = _spans(one, drawn, found, rng)
        left, hidden = corrupt(found.ids, spans, sentinels)
        pairs.append((left + [tokenizer.eos_token_id] * rng.randrange(2), [*hidden, tokenizer.eos_token_id]))
    return pairs_batch(pairs, tokenizer.pad_token_id, encoder_decoder=True)


def _spans(one: Member, drawn: Document, found: Any, rng: random.Random) -> list[tuple[int, int]]:
    """Return the hidden spans of a document: whole sentences, single values, or short spans."""
    parallel, kind = drawn.told == 1 and not drawn.is_list, rng.random()
    whole = one.hide_parallel if parallel else one.hide_again
    if kind < whole:
        return _sentence_spans(drawn, found.offsets, rng)
    values = _values(drawn, found, rng) if drawn.told > 1 and kind < whole + one.hide_values else []
    return values or draw_spans(len(found.ids), 0.3, 3, rng)


def _values(drawn: Document, found: Any, rng: random.Random) -> list[tuple[int, int]]:
    """Return, in most restating sentences, one token that occurs in exactly one of the initial sentences."""
    ends = list(accumulate(map(len, drawn.pieces)))
    where = [bisect_left(ends, stop) for _, stop in found.offsets]
    told = [
        {token for token, place in zip(found.ids, where, strict=True) if place == piece}
        for piece in range(drawn.told)
    ]
    spans = []
    for piece in range(drawn.told, len(drawn.pieces)):
        known = [
            number
            for number, (token, place) in enumerate(zip(found.ids, where, strict=True))
            if place == piece and sum(token in tokens for tokens in told) == 1
        ]
        if known and rng.random() < VALUES_OF_SCENE:
            start = rng.choice(known)
            spans.append((start, start + 1))
    return spans


def _sentence_spans(
    drawn: Document, offsets: Sequence[tuple[int, int]], rng: random.Random
) -> list[tuple[int, int]]:
    """Return the tokens of one sentence of a parallel document or a list, or of several of a scene or roll.

    The first token remains visible, in a parallel document or list only four times out of five.
    """
    later = range(drawn.told, len(drawn.pieces))
    chosen = [place for place in later if rng.random() < HIDDEN_OF_SCENE] if drawn.told > 1 else []
    spans = []
    for place in chosen or [rng.choice(later)]:
        start = sum(map(len, drawn.pieces[:place]))
        end = start + len(drawn.pieces[place])
        tokens = [number for number, (_, stop) in enumerate(offsets) if start < stop <= end]
        spans.append((tokens[0] + (drawn.told > 1 or rng.random() < 0.8), tokens[-1] + 1))
    return spans


def finetuning(one: Member, kit: Kit, tokenizer: Any, step: int, rng: random.Random) -> Batch:
    """Return prompts and targets: BLOOM reads input + space + target + end token; mT5 the input, half of the time with `</s>`."""
    decoder, mixture = one.architecture == "bloom", MIXTURES[one.mixture or ""]
    drawn = [draw_example(kit.world, mixture, kit.wordings, step_rng) for step_rng in split(rng, one.rows)]
    sources = _encode(tokenizer, [example.inputs for example in drawn])
    targets = _encode(tokenizer, [" " + one.targets if decoder else one.targets for one in drawn])
    end = tokenizer.eos_token_id
    pairs = [
        ([*source.ids, *([] if decoder else [end] * rng.randrange(2))], [*target.ids, end])
        for source, target in zip(sources, targets, strict=True)
    ]
    return pairs_batch(pairs, tokenizer.pad_token_id, encoder_decoder=not decoder)


def split(rng: random.Random, count: int) -> list[random.Random]:
    """Return a separate random state for each of `count` rows, so that the draws of one do not affect the next."""
    return [random.Random(rng.getrandbits(64)) for _ in range(count)]


def _encode(tokenizer: Any, texts: list[str]) -> list[Any]:
    return list(tokenizer.backend_tokenizer.encode_batch(texts, add_special_tokens=False))
