"""Texts to probe, what is known of each, and which of them must stay on one side of a split."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from workbench.errors import BadInput


@dataclass(frozen=True)
class Examples:
    """N texts to probe: states (N, L+1, D), and the label, language and meaning id of each text.

    `words` names the word (lemma) that each text is about, in any language; without it each meaning is its own word.
    """

    states: np.ndarray
    labels: Sequence[Hashable]
    languages: Sequence[str]
    meanings: Sequence[Hashable]
    words: Sequence[Hashable] | None = None

    def __post_init__(self) -> None:
        named = (self.labels, self.languages, self.meanings, *([] if self.words is None else [self.words]))
        if {len(each) for each in named} != {len(self.states)} or self.states.ndim != 3:
            raise BadInput(
                f"states of shape {self.states.shape} came with {len(self.labels)} labels, {len(self.languages)} languages, "
                f"{len(self.meanings)} meanings and {'no' if self.words is None else len(self.words)} words; give states "
                "(N, layers, width) and N of each"
            )
        if len(set(self.labels)) < 2:
            raise BadInput(f"the labels are {set(self.labels)}; a probe needs at least two classes")

    def chosen(self, places: Sequence[int] | np.ndarray) -> "Examples":
        """Return the texts at these places."""
        labels, meanings = [self.labels[n] for n in places], [self.meanings[n] for n in places]
        words = None if self.words is None else [self.words[n] for n in places]
        return Examples(self.states[places], labels, [self.languages[n] for n in places], meanings, words)


def split_groups(examples: Examples) -> np.ndarray:
    """Return the group of each text, shape (N,): texts that share a word or a meaning, directly or through others, share one."""
    meanings = pd.factorize(np.asarray(examples.meanings))[0]
    words = meanings if examples.words is None else pd.factorize(np.asarray(examples.words))[0]
    size, offset = len(meanings), int(meanings.max()) + 1
    total = offset + int(words.max()) + 1
    links = coo_array((np.ones(size), (meanings, offset + words)), shape=(total, total))
    return connected_components(links, directed=False)[1][meanings]


def centred(states: np.ndarray, languages: Sequence[str]) -> np.ndarray:
    """Subtract each language's mean state, which removes most of what identifies it; (N, …), float64.

    Source: Libovický et al. 2020, arXiv:2004.05160.
    """
    found, names = states.astype(np.float64), np.asarray(languages)
    for name in set(languages):
        found[names == name] -= found[names == name].mean(axis=0)
    return found
