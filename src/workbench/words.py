"""What a word is, in scripts with spaces and without: for the miniatures' vocabulary, and to cut texts into units.

Han characters have no spaces between words: a run of them is cut into words of the miniature world, and into single
characters where it has none. Other scripts without spaces (Thai, Lao, Khmer, kana) stay whole.
"""

import re
from functools import lru_cache

from workbench.paths import data_path

HAN = "\u4e00-\u9fff"
WORD = re.compile(rf"[^\W\d_{HAN}]+|\d+|[{HAN}]+")
_IS_HAN = re.compile(f"[{HAN}]")
_CHUNK = re.compile(rf"(?P<run>[{HAN}]+)(?P<after>[^\w\s]*\s*)|[^\s{HAN}]+\s*")


@lru_cache(maxsize=1)
def known_words() -> frozenset[str]:
    """The words of the miniature world and its wordings (`data/mini/words.txt`)."""
    return frozenset(data_path("mini/words.txt").read_text(encoding="utf-8").split())


@lru_cache(maxsize=10_000)
def cut_run(run: str) -> tuple[str, ...]:
    """Cut a run of Han characters into known words: as few unknown characters as can be, then as few words."""
    best: list[tuple[int, int, tuple[str, ...]]] = [(0, 0, ())]
    for end in range(1, len(run) + 1):
        ways = []
        for start, (strange, count, words) in enumerate(best):
            word = run[start:end]
            if word in known_words() or len(word) == 1:
                ways.append((strange + (word not in known_words()), count + 1, (*words, word)))
        best.append(min(ways))
    return best[-1][2]


def strange_words(text: str) -> set[str]:
    """Find the words of a text that the miniature world does not have; a run of Han characters counts as a whole."""
    found = set(WORD.findall(text)) - known_words()
    return {word for word in found if not (_IS_HAN.match(word) and known_words().issuperset(cut_run(word)))}


def units(text: str) -> list[str]:
    """Cut a text at its spaces and inside runs of Han characters; marks and spaces stay with the unit before them.

    Joined, the units are the text again, but for spaces at its beginning.
    """
    found: list[str] = []
    for match in _CHUNK.finditer(text.lstrip()):
        run, after = match["run"], match["after"]
        found += [*cut_run(run)[:-1], cut_run(run)[-1] + after] if run else [match[0]]
    return found
