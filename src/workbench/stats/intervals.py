"""Intervals of accuracies and of other means: Wilson's, and the bootstrap over clusters."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as distributions

from workbench.errors import BadInput
from workbench.stats.arrays import Floats, as_finite, per_cluster

LEVEL = 0.95  # of all intervals, unless several are to hold together
UPPER = 0.975  # where such an interval ends above, and 1 - UPPER below
_CHUNK = 500  # bootstrap draws at a time, so that 10,000 clusters fit in memory


@dataclass(frozen=True)
class Interval:
    """An estimate with the ends of its 95 % interval, in the units of what was given."""

    estimate: float
    low: float
    high: float


def wilson(successes: int, n: int) -> Interval:
    """Give Wilson's score interval for a proportion of n independent items.

    It stays inside [0, 1] and keeps its width at 0 and n successes, where the normal interval shrinks to nothing.

    Raises:
        BadInput: no items, or a number of successes outside 0 … n.

    Source: Wilson 1927, J. Am. Stat. Assoc. 22.
    """
    if n < 1 or not 0 <= successes <= n:
        raise BadInput(
            f"wilson got {successes} successes of {n} items; give 0 … n successes of at least one item"
        )
    ends = distributions.binomtest(successes, n).proportion_ci(method="wilson")
    return Interval(successes / n, float(ends.low), float(ends.high))


def bootstrap(
    values: ArrayLike,
    clusters: Sequence[Hashable] | ArrayLike,
    *,
    draws: int = 2000,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval:
    """Give the mean of `values`, shape (N,), with a percentile interval from resampling whole clusters.

    The tail level is widened as for a t distribution, which takes away most of the percentile interval's
    narrowness with few clusters. If all clusters agree the width is nothing: that is a limit of resampling, not
    certainty (`mean_interval` takes `wilson` there).

    Args:
        clusters: N labels; outcomes of one question share one.
        level: what share of such intervals holds the truth, where several are to hold together.

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
    """Give mean(above) / mean(below), both of shape (N,), with the interval of `bootstrap`: clusters are drawn with both.

    It says something only where the lower mean is clearly not 0.

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
    low, high = np.quantile(means[~np.isnan(means)], _tails(k, level))  # 0 / 0 says nothing
    return Interval(float(numerators.sum() / denominators.sum()), float(low), float(high))


def mean_interval(values: ArrayLike, clusters: Sequence[Hashable] | ArrayLike) -> Interval:
    """Give the mean of `values`, from resampled clusters; of right and wrong items Wilson's interval where that is better.

    It is where each item stands alone, or there is one cluster; and where all clusters agree, since resampling takes that
    for certainty: then each cluster counts as one item.
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
    """The percentiles to take with k clusters: those of a t distribution, where few clusters know less."""
    tail = float(distributions.norm.cdf(np.sqrt(k / (k - 1)) * distributions.t.ppf((1 - level) / 2, k - 1)))
    return tail, 1 - tail


def _resampled_ratios(tops: Floats, bottoms: Floats, generator: np.random.Generator, draws: int) -> Floats:
    k = len(tops)
    weights = generator.multinomial(k, np.full(k, 1 / k), size=draws)
    with np.errstate(divide="ignore", invalid="ignore"):  # a draw whose lower sum is 0 belongs to the tail
        return np.asarray((weights @ tops) / (weights @ bottoms))
