"""What a word is, in scripts with spaces and without.

Han characters have no spaces between words: a run of them is cut into the words of a vocabulary, and into single
characters where it has none. Other scripts without spaces (Thai, Lao, Khmer, kana) stay whole.
"""

import re
from collections.abc import Set
from functools import lru_cache

from workbench import family

HAN = "\u4e00-\u9fff"
WORD = re.compile(rf"[^\W\d_{HAN}]+|\d+|[{HAN}]+")
_CHUNK = re.compile(rf"(?P<run>[{HAN}]+)(?P<after>[^\w\s]*\s*)|[^\s{HAN}]+\s*")


@lru_cache(maxsize=10_000)
def cut_run(run: str, known: Set[str]) -> tuple[str, ...]:
    """Cut a run of Han characters into known words: as few unknown characters as can be, then as few words."""
    best: list[tuple[int, int, tuple[str, ...]]] = [(0, 0, ())]
    for end in range(1, len(run) + 1):
        ways = []
        for start, (strange, count, words) in enumerate(best):
            word = run[start:end]
            if word in known or len(word) == 1:
                ways.append((strange + (word not in known), count + 1, (*words, word)))
        best.append(min(ways))
    return best[-1][2]


def units(text: str) -> list[str]:
    """Cut a text at its spaces and inside runs of Han characters; marks and spaces stay with the unit before them.

    The words inside a run are those of the families' vocabularies. Joined, the units are the text again, but for spaces
    at its beginning.
    """
    found: list[str] = []
    for match in _CHUNK.finditer(text.lstrip()):
        run, after = match["run"], match["after"]
        words = cut_run(run, family.vocabulary()) if run else ()
        found += [*words[:-1], words[-1] + after] if run else [match[0]]
    return found
