"""The pairs that a training step draws: a pure function of seed and step, so that a training can be resumed at any step.

Languages are dealt from decks: every block of `DECK` draws contains each language in its proportion, in a different order.
Within a language every line occurs once before any is repeated. How often a language was drawn before a step is therefore
computed, not stored.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Protocol

import numpy as np

from workbench.errors import BadInput, UnknownName
from workbench.training.mixtures.files import Pair

DECK = 65_536  # draws within which the shares are exact; every language has at least one


class Source(Protocol):
    """The data of a pool: the n-th pair of a language, for n = 0, 1, 2, … without end."""

    def pair(self, language: str, number: int) -> Pair: ...  # noqa: D102

    def sizes(self) -> dict[str, int]: ...  # noqa: D102  how much of each language there is: lines, or bytes

    def digests(self) -> list[tuple[str, str]]: ...  # noqa: D102  (file, digest) of all that is drawn from

    def check(self) -> Iterator[Pair]: ...  # noqa: D102  every line once, where they are at hand


@dataclass(frozen=True)
class Pool:
    """Pairs to draw from, in proportions by language (they sum to 1)."""

    source: Source
    shares: Mapping[str, float]
    seed: int

    def draw(self, step: int, count: int) -> list[Pair]:
        """Draw the pairs of a training step; steps may be drawn in any order."""
        languages = sorted(self.shares)
        cards = tuple(deal(self.shares).values())
        drawn = []
        for place in range(step * count, (step + 1) * count):
            number, card = divmod(place, DECK)
            deck, before = _deck(cards, f"{self.seed} {number}")
            chosen = int(deck[card])
            drawn.append(self.source.pair(languages[chosen], number * cards[chosen] + int(before[card])))
        return drawn

    def fingerprint(self) -> str:
        """Return a digest of everything that determines the draws: the files' digests, the shares and the seed."""
        parts = [repr(sorted(self.source.digests())), repr(deal(self.shares)), str(self.seed)]
        return blake2b("\n".join(parts).encode(), digest_size=20).hexdigest()

    def check(self) -> int:
        """Validate every line of local files and return their number, so that a malformed line is reported before training.

        About 100 MB a second. Lines of the hub are validated when they are drawn.
        """
        return sum(1 for _ in self.source.check())


def make_pool(source: Source, weights: Mapping[str, float] | None, seed: int) -> Pool:
    """Return a pool of a source; without weights, languages are drawn in proportion to their size.

    Raises:
        UnknownName: a weight for a language that is not there.
        BadInput: a language without a line or a weight, or a weight that is not above 0.
    """
    sizes = source.sizes()
    for language, size in sizes.items():
        if not size:  # a stream would search for its first line forever
            raise BadInput(
                f"all files of {language!r} are empty; write their lines, or leave the language out"
            )
    given = dict(weights) if weights is not None else {name: float(size) for name, size in sizes.items()}
    for language, weight in given.items():
        if language not in sizes:
            raise UnknownName(
                f"there is a weight for {language!r}, but the languages are: {', '.join(sizes)}"
            )
        if not 0 < weight < float("inf"):
            raise BadInput(
                f"the weight of {language!r} is {weight}; it must be above 0 (or leave the language out)"
            )
    missing = sorted(set(sizes) - set(given))
    if missing:
        raise BadInput(
            f"no weight for {', '.join(missing)}; give one to every language, or name the languages"
        )
    total = sum(given.values())
    return Pool(source, {name: given[name] / total for name in sorted(given)}, seed)


def deal(shares: Mapping[str, float]) -> dict[str, int]:
    """Return the number of cards of each language in a deck: its share of `DECK`, rounded, at least one; they sum to `DECK`."""
    cards = {name: max(1, int(share * DECK)) for name, share in sorted(shares.items())}
    rests = sorted(cards, key=lambda name: (int(shares[name] * DECK) - shares[name] * DECK, name))
    left = DECK - sum(cards.values())
    for name in rests[: max(0, left)]:
        cards[name] += 1
    largest = max(cards, key=lambda name: (cards[name], name))
    cards[largest] += DECK - sum(cards.values())
    return cards


@lru_cache(maxsize=4)
def _deck(cards: tuple[int, ...], seed: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a shuffled deck: the language of every card, and the number of earlier cards of that language; both (DECK,)."""
    key = int.from_bytes(blake2b(seed.encode(), digest_size=16).digest(), "big")
    deck = np.random.Generator(np.random.PCG64(key)).permutation(np.repeat(np.arange(len(cards)), cards))
    before = np.empty(DECK, dtype=np.int64)
    for language in range(len(cards)):
        held = deck == language
        before[held] = np.arange(int(held.sum()))
    return deck, before


def shuffled(number: int, size: int, key: str) -> int:
    """Return the position of the n-th of `size` things in an order determined by the key, in constant memory.

    A Feistel network over the next power of 4, iterated until the result is below the size (Black and Rogaway 2002).
    """
    half = max(1, (max(1, size - 1).bit_length() + 1) // 2)
    mask = (1 << half) - 1
    while True:
        left, right = number >> half, number & mask
        for turn in range(4):
            left, right = right, left ^ (_mix(key, turn, right) & mask)
        number = left << half | right
        if number < size:
            return number


def _mix(key: str, turn: int, value: int) -> int:
    return int.from_bytes(blake2b(f"{key} {turn} {value}".encode(), digest_size=8).digest(), "big")


def shuffled_window(key: str, lines: Iterator[Pair], held: int) -> Iterator[Pair]:
    """Shuffle a stream within a window of `held` pairs, in an order determined by the key."""
    rng = random.Random(key)
    window: list[Pair] = []
    for line in lines:
        if len(window) < held:
            window.append(line)
            continue
        place = rng.randrange(held)
        yield window[place]
        window[place] = line
    rng.shuffle(window)
    yield from window
