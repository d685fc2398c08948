"""Whether a text's nearest neighbour in another language is its translation, among all texts or among those most like it."""

from collections.abc import Hashable, Sequence

import numpy as np
import pandas as pd

from workbench.errors import BadInput
from workbench.studies.probing.examples import Examples, centred


def retrieval(
    examples: Examples, *, pivot: str, alike: Sequence[Hashable] | None = None, centre: bool = True
) -> pd.DataFrame:
    """Test for every text whether its nearest neighbour (by cosine) in the pivot language is its translation, and vice versa.

    Args:
        alike: A value for each text, the same in all languages of a meaning. Neighbours are then sought among texts of the same
            value only (hard negatives: same person and number, say), and texts alone with theirs are left out.
        centre: Subtract each language's mean state first.

    Returns:
        One row per text outside the pivot and layer: layer, language, meaning, correct (mean of both directions), guessing (1 /
        number of candidates).

    Raises:
        BadInput: no language but the pivot, one that does not have the pivot's meanings, each exactly once, or no two texts alike.
    """
    others, places = parallel_places(examples, pivot)
    own, meanings = places[pivot], np.asarray(examples.meanings)[places[pivot]]
    kinds = pd.factorize(np.array([repr(alike[n]) for n in own] if alike is not None else [""] * len(own)))[0]
    candidates = kinds[:, None] == kinds[None, :]
    asked = candidates.sum(axis=1) > 1
    if not asked.any():
        raise BadInput(
            "no two texts are alike, so there is nothing to confuse; give a value that texts share"
        )
    tables = []
    for layer in range(examples.states.shape[1]):
        states = examples.states[:, layer]
        unit = _unit(centred(states, examples.languages) if centre else states.astype(np.float64))
        for name in others:
            cosine = np.where(candidates, unit[places[name]] @ unit[own].T, -np.inf)
            itself = np.arange(len(own))
            hits = np.mean([cosine.argmax(axis=1) == itself, cosine.argmax(axis=0) == itself], axis=0)
            columns = {
                "language": name,
                "meaning": meanings,
                "correct": hits,
                "guessing": 1 / candidates.sum(axis=1),
            }
            tables.append(pd.DataFrame({"layer": layer, **columns})[asked])
    return pd.concat(tables, ignore_index=True)


def parallel_places(examples: Examples, pivot: str) -> tuple[list[str], dict[str, np.ndarray]]:
    """Return the languages but the pivot, and for each language where its texts are, in one order of the meanings.

    Raises:
        BadInput: as `retrieval`.
    """
    languages, meanings = np.asarray(examples.languages), np.asarray(examples.meanings)
    places = {name: np.flatnonzero(languages == name) for name in dict.fromkeys(examples.languages)}
    places = {name: own[np.argsort(meanings[own], kind="stable")] for name, own in places.items()}
    if pivot not in places or len(places) < 2:
        raise BadInput(f"texts are in {', '.join(places)}; retrieval needs {pivot!r} and another language")
    shared = meanings[places[pivot]]
    for name, own in places.items():
        if len(set(shared)) < len(shared) or not np.array_equal(meanings[own], shared):
            raise BadInput(
                f"{name} and {pivot} do not have the same meanings, each once; retrieval needs parallel texts"
            )
    return [name for name in places if name != pivot], places


def _unit(states: np.ndarray) -> np.ndarray:
    return states / np.maximum(np.linalg.norm(states, axis=1, keepdims=True), 1e-12)
