"""Word segmentation, in scripts with and without spaces.

Han characters are written without spaces: a run of them is segmented into words of a vocabulary, and into single characters
elsewhere. Other scripts without spaces (Thai, Lao, Khmer, kana) are not segmented.
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
    """Segment a run of Han characters into the fewest unknown characters and, among those ways, the fewest words."""
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
    """Split a text at spaces and inside runs of Han characters; punctuation and spaces stay with the preceding unit.

    Runs are segmented with the vocabulary of all families. Joined, the units reproduce the text without its leading spaces.
    """
    found: list[str] = []
    for match in _CHUNK.finditer(text.lstrip()):
        run, after = match["run"], match["after"]
        words = cut_run(run, family.vocabulary()) if run else ()
        found += [*words[:-1], words[-1] + after] if run else [match[0]]
    return found
