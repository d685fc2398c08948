"""How alike the geometry of two languages is: debiased linear CKA over parallel texts.

1 for states that are rotations (and scalings) of each other, 0 for unrelated ones, whatever the width; the usual estimator is
above 0 there, and near 1 where the width exceeds the number of texts. CKA is blind to rotations, which zero-shot
transfer is not: languages may have a CKA of 1 and not a single neighbour in common (Del & Fishel 2022).
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats as distributions

from workbench.errors import BadInput
from workbench.studies.probing.examples import Examples
from workbench.studies.probing.retrieval import parallel_places

PARTS = 10  # of the meanings, left out in turn for the interval
LEAST = 4  # texts that the debiased estimator needs


def cka(first: np.ndarray, second: np.ndarray) -> float:
    """Return the debiased linear CKA of states (N, D1) and (N, D2) of the same N texts.

    It may be a little below 0. NaN if the states of one side do not differ.

    Raises:
        BadInput: different numbers of texts, or fewer than 4.

    Source: Kornblith et al. 2019, arXiv:1905.00414, with the unbiased HSIC of Song et al. 2012, JMLR 13.
    """
    if len(first) != len(second) or len(first) < LEAST:
        raise BadInput(f"{len(first)} and {len(second)} texts; CKA needs as many of both, {LEAST} or more")
    return _of_products(_products(first), _products(second))


def alignment(examples: Examples, *, pivot: str) -> pd.DataFrame:
    """Return the mean CKA with the pivot over the other languages, layer by layer.

    Returns:
        One row per layer: layer, cka, low and high (95 %, by leaving out a tenth of the meanings in turn), shuffled (the
        same with the pivot's texts in another order, one draw).

    Raises:
        BadInput: as `retrieval`.
    """
    others, places = parallel_places(examples, pivot)
    own = places.pop(pivot)
    part = np.random.default_rng(0).permutation(len(own)) % min(PARTS, len(own) // LEAST or 1)
    rows = []
    for layer in range(examples.states.shape[1]):
        there = _products(examples.states[own, layer])
        here = [_products(examples.states[places[name], layer]) for name in others]
        found = _mean(here, there, np.arange(len(own)))
        without = [
            _mean(here, there, np.flatnonzero(part != number)) for number in range(int(part.max()) + 1)
        ]
        half = _half_width(np.array(without))
        order = np.random.default_rng(layer).permutation(len(own))
        shuffled = _mean(here, there[np.ix_(order, order)], np.arange(len(own)))
        rows.append((layer, found, found - half, found + half, shuffled))
    return pd.DataFrame(rows, columns=["layer", "cka", "low", "high", "shuffled"])


def _products(states: np.ndarray) -> np.ndarray:
    centred = states.astype(np.float64) - states.mean(axis=0, dtype=np.float64)
    return centred @ centred.T


def _mean(here: Sequence[np.ndarray], there: np.ndarray, places: np.ndarray) -> float:
    cut = np.ix_(places, places)
    return float(np.mean([_of_products(one[cut], there[cut]) for one in here]))


def _of_products(first: np.ndarray, second: np.ndarray) -> float:
    own = _hsic(first, first) * _hsic(second, second)
    return _hsic(first, second) / own**0.5 if own > 0 else float("nan")


def _hsic(first: np.ndarray, second: np.ndarray) -> float:
    """The unbiased estimator of Song et al. 2012, equation 5."""
    n = len(first)
    left, right = first - np.diag(np.diag(first)), second - np.diag(np.diag(second))
    trace, sums = float(np.sum(left * right)), (left.sum(axis=0), right.sum(axis=0))
    rest = sums[0].sum() * sums[1].sum() / (n - 1) / (n - 2) - 2 * float(sums[0] @ sums[1]) / (n - 2)
    return (trace + rest) / n / (n - 3)


def _half_width(without: np.ndarray) -> float:
    """Half the 95 % interval of the jackknife over parts."""
    parts = len(without)
    error = ((parts - 1) / parts * np.sum((without - without.mean()) ** 2)) ** 0.5
    return float(error * distributions.t.ppf(0.975, parts - 1)) if parts > 1 else float("nan")
