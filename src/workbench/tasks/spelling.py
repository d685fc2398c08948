"""How near two spellings are: normal forms, matches of an answer, edit distance."""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Literal

_ACCENTS = re.compile(
    "[\u0300-\u036f]"
)  # not the vowel signs of Devanagari or Thai, which are letters' sounds


@lru_cache(maxsize=65_536)
def normal(text: str) -> str:
    """Return a text in lower case, without accents and punctuation, and with single spaces."""
    bare = _ACCENTS.sub("", unicodedata.normalize("NFKD", text.casefold()))
    kept = "".join(sign if unicodedata.category(sign)[0] in "LMN" else " " for sign in bare)
    return unicodedata.normalize("NFC", " ".join(kept.split()))


def match_answer(answer: str, accepted: Iterable[str]) -> Literal["exact", "normalised", "no"]:
    """Say whether an answer is one of the accepted texts: to the letter (but for white space around it), or normalised."""
    texts = list(accepted)
    if answer.strip() in texts:
        return "exact"
    return "normalised" if normal(answer) in {normal(text) for text in texts} else "no"


@lru_cache(maxsize=65_536)
def similarity(first: str, second: str) -> float:
    """Return 1 less the edit distance of two normalised texts as a share of the longer: 1 for equal ones, 0 without a common letter."""
    one, other = normal(first), normal(second)
    row = list(range(len(other) + 1))
    for number, sign in enumerate(one, 1):
        before, row[0] = row[0], number
        for place, letter in enumerate(other, 1):
            before, row[place] = (
                row[place],
                min(row[place] + 1, row[place - 1] + 1, before + (sign != letter)),
            )
    return 1 - row[-1] / max(len(one), len(other), 1)
