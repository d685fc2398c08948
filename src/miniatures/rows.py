"""What a member reads at each step of its training: documents for the bases, prompts for the others.

A batch is a pure function of (seed, member, step): an interrupted training goes on with what it would have read.
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

PARTS = 3  # a step's rows are cut into so many parts of like length
VALUES_OF_SCENE = 0.7  # of the sentences that say something again, where single values are hidden
HIDDEN_OF_SCENE = 0.6  # of the sentences of a scene that say something again, where whole ones are hidden


@dataclass(frozen=True)
class Phase:
    """A part of a pretraining: how many steps, and what its documents are made of."""

    steps: int
    dials: Dials


@dataclass(frozen=True)
class Member:
    """One checkpoint of the family.

    A base is pretrained from nothing on the documents of its phases, one after the other; another member is
    finetuned from its base on a mixture.
    """

    name: str
    architecture: str  # "bloom" or "mt5"
    plan: Plan
    phases: tuple[Phase, ...] = ()
    base: str | None = None
    mixture: str | None = None  # a name of MIXTURES
    stage: bool = False  # on the way to another member: kept only until that is made
    rows: int = 64  # documents or pairs per step
    hide_parallel: float = (
        0.8  # mT5: share of parallel documents in which one whole sentence is the hidden span
    )
    hide_again: float = 0.5  # mT5: share of the others in which whole sentences are
    hide_values: float = (
        0.0  # mT5: share of scenes and rolls in which single words are that one fact gives; else short spans
    )
    stream: str = ""  # what its documents are drawn by, its name by default

    def dials_at(self, step: int) -> Dials:
        """What the documents of a step are made of."""
        for phase in self.phases:
            if step < phase.steps:
                return phase.dials
            step -= phase.steps
        return self.phases[-1].dials


@dataclass(frozen=True)
class Kit:
    """What training reads: the world, the wordings of the mixture, and the shared BPE."""

    world: World
    wordings: Wordings
    tokens: list[str]
    merges: list[tuple[str, str]]

    def tokenizer(self, architecture: str) -> PreTrainedTokenizerFast:
        """The BPE in an architecture's dress."""
        return build(self.tokens, self.merges, encoder_decoder=architecture == "mt5")


@lru_cache(maxsize=1)
def read_kit() -> Kit:
    """Read the world, the wordings and the shared BPE that ship with the package."""
    bpe = json.loads(data_path("mini/bpe.json").read_text(encoding="utf-8"))
    merges = [(left, right) for left, right in bpe["merges"]]
    return Kit(read_world(), read_wordings(), bpe["tokens"], merges)


def batch_maker(one: Member, kit: Kit, tokenizer: Any, seed: int) -> Callable[[int], list[Batch]]:
    """The function that makes a member's batch at a step, in parts of like length."""
    make = finetuning if one.mixture else {"bloom": next_token, "mt5": span_corruption}[one.architecture]
    stream = "finetuning" if one.mixture else one.stream or one.name  # the mixtures tell the same items
    return lambda step: cut(make(one, kit, tokenizer, step, random.Random(f"{seed} {stream} {step}")), PARTS)


def next_token(one: Member, kit: Kit, tokenizer: Any, step: int, rng: random.Random) -> Batch:
    """Documents for the decoder-only base, each ending with the end token."""
    dials = one.dials_at(step)
    texts = [document(kit.world, dials, rng).text for _ in range(one.rows)]
    rows = [[*found.ids, tokenizer.eos_token_id] for found in _encode(tokenizer, texts)]
    return next_token_batch(rows, tokenizer.pad_token_id)


def span_corruption(one: Member, kit: Kit, tokenizer: Any, step: int, rng: random.Random) -> Batch:
    """Documents with hidden spans for the encoder-decoder base; `</s>` ends the input half of the time.

    In a share of the documents whole sentences that say something again are hidden, most often but for their first
    word: with short spans only, the base learns no translation. In others single values are, which must be found by
    what stands beside them.
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
    """What of a document is hidden: whole sentences, single values, or short spans."""
    parallel, kind = drawn.told == 1 and not drawn.is_list, rng.random()
    whole = one.hide_parallel if parallel else one.hide_again
    if kind < whole:
        return _sentence_spans(drawn, found.offsets, rng)
    values = _values(drawn, found, rng) if drawn.told > 1 and kind < whole + one.hide_values else []
    return values or draw_spans(len(found.ids), 0.3, 3, rng)


def _values(drawn: Document, found: Any, rng: random.Random) -> list[tuple[int, int]]:
    """In most sentences that say something again, one token that stands in exactly one of those told before."""
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
    """The tokens of one sentence of a parallel document or a list, of several of a scene, but for their first one."""
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
    """Prompts and targets: BLOOM reads input + space + target + end token; mT5 the input, with `</s>` half of the time."""
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
    """Random states of their own for `count` rows, so that a row's draws do not move those of the next."""
    return [random.Random(rng.getrandbits(64)) for _ in range(count)]


def _encode(tokenizer: Any, texts: list[str]) -> list[Any]:
    return list(tokenizer.backend_tokenizer.encode_batch(texts, add_special_tokens=False))
