"""Intervals of accuracies and of other means: Wilson's, and the bootstrap over clusters."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy
from numpy.typing import ArrayLike

from workbench.errors import BadInput
from workbench.stats.arrays import Floats, as_finite, per_cluster

LEVEL = 0.95  # of all intervals, unless several have a joint level
UPPER = 0.975  # the upper quantile of such an interval; the lower is 1 - UPPER
_CHUNK = 500  # bootstrap draws at a time, so that 10,000 clusters fit in memory


@dataclass(frozen=True)
class Interval:
    """An estimate with the ends of its 95 % interval, in the units of the input."""

    estimate: float
    low: float
    high: float


def wilson(successes: int, n: int) -> Interval:
    """Return Wilson's score interval for a proportion of n independent items.

    It stays inside [0, 1] and keeps its width at 0 and n successes, where the normal interval has none.

    Raises:
        BadInput: no items, or a number of successes outside 0 … n.

    Source: Wilson 1927, J. Am. Stat. Assoc. 22.
    """
    if n < 1 or not 0 <= successes <= n:
        raise BadInput(
            f"wilson got {successes} successes of {n} items; give 0 … n successes of at least one item"
        )
    ends = scipy.stats.binomtest(successes, n).proportion_ci(method="wilson")
    return Interval(successes / n, float(ends.low), float(ends.high))


def bootstrap(
    values: ArrayLike,
    clusters: Sequence[Hashable] | ArrayLike,
    *,
    draws: int = 2000,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval:
    """Return the mean of `values`, shape (N,), with a percentile interval from resampling whole clusters.

    The tail level is widened as for a t distribution, which largely corrects the narrowness of percentile intervals with
    few clusters. If all clusters agree the width is zero: that is a limit of resampling, not certainty
    (`mean_interval` uses `wilson` there).

    Args:
        clusters: N labels; outcomes of one question share one.
        level: The coverage of each interval; raise it if several are to have a joint level.

    Raises:
        BadInput: fewer than two clusters, unequal lengths, or values that are not finite.

    Source: Efron & Tibshirani 1993; the widened tails after Hesterberg 2015, Am. Statistician 69.
    """
    return bootstrap_ratio(values, np.ones(np.shape(values)), clusters, draws=draws, seed=seed, level=level)


def bootstrap_ratio(
    above: ArrayLike,
    below: ArrayLike,
    clusters: Sequence[Hashable] | ArrayLike,
    *,
    draws: int = 2000,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval:
    """Return mean(above) / mean(below), both of shape (N,), with the interval of `bootstrap`; both share the drawn clusters.

    It is informative only if mean(below) is clearly different from 0.

    Raises:
        BadInput: as `bootstrap`.
    """
    numerators, denominators = as_finite(above), as_finite(below)
    tops, bottoms = (per_cluster(each, clusters)[0] for each in (numerators, denominators))
    k = len(tops)
    if k < 2:
        raise BadInput(f"got {k} cluster; an interval needs at least two (is `limit` too small?)")
    generator = np.random.default_rng(seed)
    means = np.concatenate(
        [
            _resampled_ratios(tops, bottoms, generator, min(_CHUNK, draws - done))
            for done in range(0, draws, _CHUNK)
        ]
    )
    low, high = np.quantile(means[~np.isnan(means)], _tails(k, level))  # 0 / 0 carries no information
    return Interval(float(numerators.sum() / denominators.sum()), float(low), float(high))


def mean_interval(values: ArrayLike, clusters: Sequence[Hashable] | ArrayLike) -> Interval:
    """Return the mean of `values` with an interval by `bootstrap`, or by `wilson` for right and wrong items where that is better.

    Wilson's interval is better if each item is its own cluster or there is only one cluster. It is also used if all clusters
    agree, since the bootstrap then has zero width; each cluster then counts as one item.
    """
    array = as_finite(values)
    k = len(per_cluster(array, clusters)[0])
    share = bool(np.isin(array, (0, 1)).all()) and k > 0
    found = None if share and k in (1, len(array)) else bootstrap(array, clusters)
    if found and not (share and found.low == found.high):
        return found
    mean = float(array.mean())
    return replace(wilson(round(mean * k), k), estimate=mean)


def _tails(k: int, level: float = LEVEL) -> tuple[float, float]:
    """Return the percentiles to take with k clusters: those of a t distribution, wider for few clusters."""
    tail = float(scipy.stats.norm.cdf(np.sqrt(k / (k - 1)) * scipy.stats.t.ppf((1 - level) / 2, k - 1)))
    return tail, 1 - tail


def _resampled_ratios(tops: Floats, bottoms: Floats, generator: np.random.Generator, draws: int) -> Floats:
    k = len(tops)
    weights = generator.multinomial(k, np.full(k, 1 / k), size=draws)
    with np.errstate(divide="ignore", invalid="ignore"):  # a draw whose lower sum is 0 counts in the tail
        return np.asarray((weights @ tops) / (weights @ bottoms))
