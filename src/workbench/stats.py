"""Intervals, paired tests and nulls for accuracies: small functions on arrays, each with its assumption.

An item is one question. The same question asked in several languages or wordings is several outcomes of one
cluster: resampling clusters, not outcomes, is what keeps intervals honest.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats as distributions

from workbench.errors import BadInput

Floats = NDArray[np.float64]
_CHUNK = 500  # bootstrap draws at a time, so that 10,000 clusters fit in memory


@dataclass(frozen=True)
class Interval:
    """An estimate with the ends of its interval, in the units of what was given."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class SpreadNull:
    """What `max - min` over templates is when all have the same true accuracy: mean and 95 % point, fractions."""

    mean: float
    high: float


@dataclass(frozen=True)
class SpreadTest:
    """Observed spread, what shuffling gives, their difference, and how often shuffling gives as much."""

    spread: float
    null_mean: float
    null_high: float
    excess: float
    p_value: float


@dataclass(frozen=True)
class PairedTest:
    """Discordant pairs of McNemar's test and its exact two-sided p-value."""

    only_first: int
    only_second: int
    p_value: float


@dataclass(frozen=True)
class Omnibus:
    """A chi-squared statistic, its degrees of freedom and p-value."""

    statistic: float
    degrees: int
    p_value: float


def wilson(successes: int, n: int, *, level: float = 0.95) -> Interval:
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
    z = float(distributions.norm.ppf((1 + level) / 2))
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half))


def bootstrap(
    values: ArrayLike,
    clusters: Sequence[Hashable] | ArrayLike,
    *,
    draws: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Give the mean of `values`, shape (N,), with a percentile interval from resampling whole clusters.

    The tail level is widened as for a t distribution, which takes away most of the percentile interval's
    narrowness with few clusters. If all clusters agree the width is nothing: that is a limit of resampling, not
    certainty; for a single proportion of independent items use `wilson`.

    Args:
        clusters: N labels; outcomes of one question share one.

    Raises:
        BadInput: fewer than two clusters, unequal lengths, or values that are not finite.

    Source: Efron & Tibshirani 1993; the widened tails after Hesterberg 2015, Am. Statistician 69.
    """
    array = _finite(values)
    totals, counts = _per_cluster(array, clusters)
    k = len(totals)
    if k < 2:
        raise BadInput(f"bootstrap got {k} cluster; an interval needs at least two (is `limit` too small?)")
    generator = np.random.default_rng(seed)
    means = np.concatenate(
        [
            _resampled_means(totals, counts, generator, min(_CHUNK, draws - done))
            for done in range(0, draws, _CHUNK)
        ]
    )
    tail = float(distributions.norm.cdf(np.sqrt(k / (k - 1)) * distributions.t.ppf((1 - level) / 2, k - 1)))
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(float(array.mean()), float(low), float(high))


def paired_difference(
    first: ArrayLike,
    second: ArrayLike,
    clusters: Sequence[Hashable] | ArrayLike,
    *,
    draws: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Give mean(second - first) on the same N items, with a cluster bootstrap interval.

    Raises:
        BadInput: as `bootstrap`, or arrays of different lengths.
    """
    before, after = _finite(first), _finite(second)
    if before.shape != after.shape:
        raise BadInput(f"paired_difference got {before.size} and {after.size} outcomes; pair the items first")
    return bootstrap(after - before, clusters, draws=draws, seed=seed, level=level)


def mcnemar(first: ArrayLike, second: ArrayLike) -> PairedTest:
    """Test whether two sets of right/wrong outcomes on the same independent items differ, exactly.

    Only items that one got right and the other wrong count; under the null each is a fair coin.

    Source: McNemar 1947, exact form.
    """
    before, after = _outcomes(first), _outcomes(second)
    if before.shape != after.shape:
        raise BadInput(f"mcnemar got {before.size} and {after.size} outcomes; pair the items first")
    lost, won = int(np.sum(before & ~after)), int(np.sum(~before & after))
    p_value = float(distributions.binomtest(lost, lost + won).pvalue) if lost + won else 1.0
    return PairedTest(lost, won, p_value)


def binomial_spread(n_items: int, accuracy: float, templates: int) -> SpreadNull:
    """Give the spread that chance alone makes over k templates of equal true accuracy, in closed form.

    The templates are taken as independent draws of n items. Templates asked about the *same* items vary together,
    so their true null is smaller, by an amount that aggregate scores do not tell: with outcomes per item use
    `permutation_spread`.

    Args:
        accuracy: the common accuracy, a fraction.

    Raises:
        BadInput: no items, fewer than two templates, an accuracy outside [0, 1].
    """
    if n_items < 1 or templates < 2 or not 0 <= accuracy <= 1:
        raise BadInput(
            f"binomial_spread got n={n_items}, accuracy={accuracy}, k={templates}; need n ≥ 1, k ≥ 2, a fraction"
        )
    below = distributions.binom.cdf(np.arange(n_items), n_items, accuracy)  # F(x) for x = 0 … n-1
    mean = float(np.sum(1 - below**templates - (1 - below) ** templates)) / n_items  # E max - E min
    return SpreadNull(mean, _range_quantile(n_items, accuracy, templates, 0.95) / n_items)


def permutation_spread(outcomes: ArrayLike, *, permutations: int = 2000, seed: int = 0) -> SpreadTest:
    """Test the spread of column means by shuffling the template labels within each item.

    Args:
        outcomes: shape (items, templates), right/wrong or means over a cluster's languages; rows independent.

    Raises:
        BadInput: not a complete table of at least two templates.
    """
    table = _table(outcomes)
    generator = np.random.default_rng(seed)
    shuffled = np.array([np.ptp(generator.permuted(table, axis=1).mean(axis=0)) for _ in range(permutations)])
    spread = float(np.ptp(table.mean(axis=0)))
    as_large = int(np.sum(shuffled >= spread - 1e-12))
    null = float(shuffled.mean())
    p_value = (as_large + 1) / (permutations + 1)  # the observed labelling is one of the labellings
    return SpreadTest(spread, null, float(np.quantile(shuffled, 0.95)), spread - null, p_value)


def cochran_q(outcomes: ArrayLike) -> Omnibus:
    """Test whether k templates have the same accuracy on the same items (Cochran's Q, chi-squared with k-1).

    Items that all templates get right, or all wrong, say nothing; if there are no others Q is 0.

    Source: Cochran 1950, Biometrika 37.
    """
    table = _table(outcomes)
    if not np.isin(table, (0, 1)).all():
        raise BadInput("cochran_q needs right/wrong outcomes (0 or 1); for means use permutation_spread")
    k = table.shape[1]
    columns, rows = table.sum(axis=0), table.sum(axis=1)
    within = float(np.sum(rows * (k - rows)))
    q = (k - 1) * k * float(np.sum((columns - columns.mean()) ** 2)) / within if within else 0.0
    return Omnibus(q, k - 1, float(distributions.chi2.sf(q, k - 1)))


def _resampled_means(totals: Floats, counts: Floats, generator: np.random.Generator, draws: int) -> Floats:
    k = len(totals)
    weights = generator.multinomial(k, np.full(k, 1 / k), size=draws)
    return np.asarray(weights @ totals / (weights @ counts))


def _per_cluster(values: Floats, clusters: Sequence[Hashable] | ArrayLike) -> tuple[Floats, Floats]:
    labels = np.asarray(clusters)
    if labels.shape != values.shape:
        raise BadInput(f"got {values.size} values and {labels.size} cluster labels; give one label per value")
    _, index = np.unique(labels, return_inverse=True)
    return np.asarray(np.bincount(index, weights=values), dtype=np.float64), np.asarray(
        np.bincount(index), dtype=np.float64
    )


def _range_quantile(n: int, accuracy: float, k: int, level: float) -> int:
    """Smallest r with P(max - min <= r) >= level: sum over the minimum's value x of P(all in x … x+r, one at x)."""
    x = np.arange(n + 1)
    below = distributions.binom.cdf(x - 1, n, accuracy)
    upto = distributions.binom.cdf(x, n, accuracy)
    low, high = 0, n
    while low < high:
        r = (low + high) // 2
        top = distributions.binom.cdf(np.minimum(x + r, n), n, accuracy)
        if float(np.sum((top - below) ** k - (top - upto) ** k)) >= level:
            high = r
        else:
            low = r + 1
    return low


def _finite(values: ArrayLike) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not np.isfinite(array).all():
        raise BadInput(
            f"got values of shape {array.shape} with {np.sum(~np.isfinite(array))} not finite; give one number per item"
        )
    return array


def _outcomes(values: ArrayLike) -> NDArray[np.bool_]:
    array = _finite(values)
    if not np.isin(array, (0, 1)).all():
        raise BadInput("got outcomes other than right and wrong (1 and 0)")
    return array.astype(bool)


def _table(outcomes: ArrayLike) -> Floats:
    table = np.asarray(outcomes, dtype=np.float64)
    if table.ndim != 2 or table.shape[0] < 1 or table.shape[1] < 2 or not np.isfinite(table).all():
        raise BadInput(
            f"got outcomes of shape {table.shape}; give items x templates, two templates or more, no gaps"
        )
    return table
