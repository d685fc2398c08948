"""The words of the miniature world (`data/mini/words.txt`), and a warning about prompts with other words."""

import re
from collections.abc import Sequence
from functools import lru_cache

from workbench.paths import data_path
from workbench.words import HAN, WORD, cut_run

_IS_HAN = re.compile(f"[{HAN}]")


@lru_cache(maxsize=1)
def known_words() -> frozenset[str]:
    """Return the words of the miniature world and its wordings."""
    return frozenset(data_path("mini/words.txt").read_text(encoding="utf-8").split())


def strange_words(text: str) -> set[str]:
    """Return the words of a text that the miniature world does not have; a run of Han characters counts as one."""
    known = known_words()
    found = set(WORD.findall(text)) - known
    return {word for word in found if not (_IS_HAN.match(word) and known.issuperset(cut_run(word, known)))}


def check_prompts(prompts: Sequence[str]) -> str | None:
    """Return a message that names the first unknown words of the prompts; None if all words are known."""
    strange = sorted(set().union(*map(strange_words, prompts)))
    if not strange:
        return None
    shown = ", ".join(strange[:8]) + (" …" if len(strange) > 8 else "")
    return f"the model knows only the words in data/mini/words.txt; unknown: {shown}"
