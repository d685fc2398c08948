"""How near two spellings are: normal forms, matches of an answer, edit distance."""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Literal

_ACCENTS = re.compile(
    "[\u0300-\u036f]"
)  # not the vowel signs of Devanagari or Thai, which are letters' sounds


class _Kept(dict[int, str]):
    """A table for `str.translate` that keeps letters, their marks and numbers; it fills as signs are met."""

    def __missing__(self, code: int) -> str:
        self[code] = chr(code) if unicodedata.category(chr(code))[0] in "LMN" else " "
        return self[code]


_KEPT = _Kept()


@lru_cache(maxsize=1 << 16)
def normal(text: str) -> str:
    """Return a text in lower case, without accents and punctuation, and with single spaces."""
    bare = _ACCENTS.sub("", unicodedata.normalize("NFKD", text.casefold()))
    return unicodedata.normalize("NFC", " ".join(bare.translate(_KEPT).split()))


def match_answer(answer: str, accepted: Iterable[str]) -> Literal["exact", "normalised", "no"]:
    """Say whether an answer is one of the accepted texts: to the letter (but for white space around it), or normalised."""
    texts = list(accepted)
    if answer.strip() in texts:
        return "exact"
    return "normalised" if normal(answer) in {normal(text) for text in texts} else "no"


def similarity(first: str, second: str) -> float:
    """Return 1 less the edit distance of two normalised texts as a share of the longer: 1 for equal ones, 0 without a common letter."""
    one, other = normal(first), normal(second)
    return 1 - _edits(one, other) / max(len(one), len(other), 1)


def _edits(one: str, other: str) -> int:
    """Return the least number of letters to insert, remove or replace.

    A column of the usual table is held as two numbers, whose bits say where it rises and falls by one from a row to the next.
    Source: Myers 1999, J. ACM 46, in the form of Hyyrö 2003.
    """
    if not one:
        return len(other)
    places: dict[str, int] = {}
    for number, sign in enumerate(one):
        places[sign] = places.get(sign, 0) | 1 << number
    every, last = (1 << len(one)) - 1, 1 << len(one) - 1
    rises, falls, edits = every, 0, len(one)
    for sign in other:
        same = places.get(sign, 0)
        level = ((((same & rises) + rises) ^ rises) | same | falls) & every
        up, down = falls | ~(level | rises) & every, rises & level
        edits += bool(up & last) - bool(down & last)
        up, down = up << 1 | 1, down << 1
        rises, falls = (down | ~(level | up)) & every, up & level & every
    return edits
