"""Tests of two models, or two settings, on the same items, and the correction of p-values for multiple tests."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike

from workbench.stats.arrays import Floats, as_finite, as_outcomes, paired, per_cluster


@dataclass(frozen=True)
class PairedTest:
    """Discordant pairs of McNemar's test and its exact two-sided p-value."""

    only_first: int
    only_second: int
    p_value: float


def mcnemar(first: ArrayLike, second: ArrayLike) -> PairedTest:
    """Test exactly whether two sets of right/wrong outcomes on the same independent items differ.

    Only items that one got right and the other wrong count; under the null each is a fair coin.

    Source: McNemar 1947, exact form.
    """
    change = paired(as_outcomes(first), as_outcomes(second))
    lost, won = int(np.sum(change < 0)), int(np.sum(change > 0))
    p_value = float(scipy.stats.binomtest(lost, lost + won).pvalue) if lost + won else 1.0
    return PairedTest(lost, won, p_value)


def sign_flip(
    first: ArrayLike,
    second: ArrayLike,
    clusters: Sequence[Hashable] | ArrayLike,
    *,
    flips: int = 5000,
    seed: int = 0,
) -> float:
    """Return the two-sided p-value of "first and second are exchangeable within each cluster".

    This is McNemar's test for correlated items (other languages or wordings of one meaning): the sign of a cluster's summed
    difference is flipped, so clusters must be independent, but items need not be.

    Raises:
        BadInput: arrays of different lengths, or values that are not finite.
    """
    totals, _ = per_cluster(paired(first, second), clusters)
    totals = totals[totals != 0]
    generator = np.random.default_rng(seed)
    signs = generator.integers(0, 2, size=(flips, len(totals)), dtype=np.int8) * 2 - 1
    flipped = np.abs(signs @ totals)
    as_large = int(np.sum(flipped >= abs(totals.sum()) - 1e-9))
    return (as_large + 1) / (flips + 1)  # the observed signs count as one of the draws


def holm(p_values: ArrayLike) -> Floats:
    """Adjust p-values for multiple testing: rejecting those at or below 0.05 gives a family-wise error rate of at most 0.05.

    Returns:
        Adjusted p-values, in the order given, never above 1.

    Source: Holm 1979, Scand. J. Stat. 6.
    """
    given = as_finite(p_values)
    order = np.argsort(given, kind="stable")
    steps = np.maximum.accumulate(given[order] * np.arange(len(given), 0, -1))
    adjusted = np.empty_like(given)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted
