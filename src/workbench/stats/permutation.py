"""Exact tests of association between two columns with few rows, such as languages."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from math import comb, factorial

import numpy as np
import scipy
from numpy.typing import ArrayLike

from workbench.errors import BadInput
from workbench.stats.arrays import Floats, as_finite

_CHUNK = 10_000  # arrangements at a time
_TIES = 1e-9  # sums of products that differ by less are equal


@dataclass(frozen=True)
class Association:
    """Spearman's rank correlation, its two-sided p-value, and what leaving out one row does.

    `exact` says whether all arrangements were counted, or a random sample of them, with the observed one. `lowest` and `highest` are
    the correlations without one row; `without` is the label of the row whose omission brings it nearest to 0 (or beyond).
    """

    correlation: float
    p_value: float
    exact: bool
    lowest: float
    highest: float
    without: Hashable


def rank_association(
    predictor: ArrayLike,
    outcome: ArrayLike,
    labels: Sequence[Hashable],
    *,
    arrangements: int = 50_000,
    seed: int = 0,
) -> Association:
    """Test whether a predictor, numbers or yes and no, goes with an outcome over N rows.

    Under the null every arrangement of the predictor's values over the rows is equally likely. All of them are counted if there
    are at most `arrangements`: always for a predictor of two values with 18 rows or fewer, else up to 8 rows. The test is exact
    either way; a random sample only costs power.

    Args:
        labels: N names of the rows.

    Raises:
        BadInput: fewer than four rows, arrays of different lengths, or a column without variation.

    Source: Fisher 1935; for random arrangements Phipson & Smyth 2010, Stat. Appl. Genet. Mol. Biol. 9.
    """
    known, told = as_finite(predictor), as_finite(outcome)
    if not len(known) == len(told) == len(labels) or len(known) < 4:
        raise BadInput(
            f"got {len(known)} and {len(told)} values and {len(labels)} labels; give one of each for four rows or more"
        )
    if np.ptp(known) == 0 or np.ptp(told) == 0:
        raise BadInput(
            "the predictor or the outcome has the same value in all rows; there is nothing to associate"
        )
    x, y = _centred_ranks(known), _centred_ranks(told)
    observed = abs(float(x @ y)) - _TIES
    every = _every(known, arrangements)
    if every is not None:
        counts = [(np.sum(np.abs(part @ y) >= observed), len(part)) for part in every]
        p_value = float(sum(as_large for as_large, _ in counts) / sum(size for _, size in counts))
    else:
        generator = np.random.default_rng(seed)
        drawn = generator.permuted(np.tile(x, (arrangements, 1)), axis=1)
        p_value = float((1 + np.sum(np.abs(drawn @ y) >= observed)) / (1 + arrangements))
    left = [_spearman(np.delete(known, row), np.delete(told, row)) for row in range(len(known))]
    whole = _spearman(known, told)
    weakest = int(np.argmin(np.array(left) * np.sign(whole)))
    return Association(whole, p_value, every is not None, min(left), max(left), labels[weakest])


def _every(known: Floats, most: int) -> Iterator[Floats] | None:
    """Return all arrangements of the centred ranks in parts of some rows; None if there are more than `most`."""
    size, values = len(known), np.unique(known)
    high = int(np.sum(known == values[-1]))
    if len(values) == 2 and comb(size, high) <= most:
        ranks = _centred_ranks(known)
        return _parts(
            _two(places, size, ranks.min(), ranks.max()) for places in combinations(range(size), high)
        )
    if factorial(size) <= most:
        return _parts(np.array(one) for one in permutations(_centred_ranks(known)))
    return None


def _two(places: Sequence[int], size: int, low: float, high: float) -> Floats:
    line = np.full(size, low)
    line[list(places)] = high
    return line


def _parts(lines: Iterator[Floats]) -> Iterator[Floats]:
    part: list[Floats] = []
    for line in lines:
        part.append(line)
        if len(part) == _CHUNK:
            yield np.array(part)
            part = []
    if part:
        yield np.array(part)


def _centred_ranks(values: Floats) -> Floats:
    ranks = scipy.stats.rankdata(values)
    return np.asarray(ranks - ranks.mean(), dtype=np.float64)


def _spearman(known: Floats, told: Floats) -> float:
    """Return the correlation of ranks; 0 if one side has no variation."""
    x, y = _centred_ranks(known), _centred_ranks(told)
    length = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / length if length else 0.0
