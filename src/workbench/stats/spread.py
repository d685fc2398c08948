"""The spread over templates and its null distribution: by permutation if outcomes per item exist, else binomial."""

import math
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike

from workbench.errors import BadInput
from workbench.stats.arrays import as_table

_CELLS = 2**20  # of tables permuted at once


@dataclass(frozen=True)
class SpreadNull:
    """The null distribution of `max - min` over templates of equal true accuracy: mean and 95 % point, fractions."""

    mean: float
    high: float


@dataclass(frozen=True)
class SpreadTest:
    """The observed spread, its mean and 95 % point under permutation, their difference, and the p-value."""

    spread: float
    null_mean: float
    null_high: float
    excess: float
    p_value: float


@dataclass(frozen=True)
class Omnibus:
    """A chi-squared statistic, its degrees of freedom and p-value."""

    statistic: float
    degrees: int
    p_value: float


def binomial_spread(n_items: int, accuracy: float, templates: int) -> SpreadNull:
    """Return the spread over k templates of equal true accuracy that is due to chance, in closed form.

    The templates are treated as independent samples of n items. Templates asked about the *same* items are correlated,
    so their true null is smaller, by an amount that aggregate scores do not reveal; if there are outcomes per item use
    `permutation_spread`.

    Args:
        accuracy: The common accuracy, a fraction.

    Raises:
        BadInput: no items, fewer than two templates, an accuracy outside [0, 1].
    """
    if n_items < 1 or templates < 2 or not 0 <= accuracy <= 1:
        raise BadInput(
            f"binomial_spread got n={n_items}, accuracy={accuracy}, k={templates}; need n ≥ 1, k ≥ 2, a fraction"
        )
    upto = _binomial_upto(n_items, accuracy)  # F(x) for x = 0 … n
    below = upto[:-1]
    mean = float(np.sum(1 - below**templates - (1 - below) ** templates)) / n_items  # E max - E min
    return SpreadNull(mean, _range_quantile(upto, templates, 0.95) / n_items)


def permutation_spread(outcomes: ArrayLike, *, permutations: int = 2000, seed: int = 0) -> SpreadTest:
    """Test the spread of column means by permuting the template labels within each item.

    Args:
        outcomes: Shape (items, templates), right/wrong or means over a cluster's languages; rows independent.

    Raises:
        BadInput: not a complete table of at least two templates.
    """
    table = as_table(outcomes)
    generator = np.random.default_rng(seed)
    at_once = max(1, _CELLS // table.size)
    counts = [min(at_once, permutations - done) for done in range(0, permutations, at_once)]
    shuffled = np.concatenate([_shuffled_spreads(table, count, generator) for count in counts])
    spread = float(np.ptp(table.mean(axis=0)))
    as_large = int(np.sum(shuffled >= spread - 1e-12))
    null = float(shuffled.mean())
    p_value = (as_large + 1) / (permutations + 1)  # the observed labelling counts as one of the permutations
    return SpreadTest(spread, null, float(np.quantile(shuffled, 0.95)), spread - null, p_value)


def _shuffled_spreads(table: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """Return the spread after each of `count` permutations within the rows of a table."""
    rows = generator.permuted(np.tile(table, (count, 1)), axis=1)
    return np.ptp(rows.reshape(count, *table.shape).mean(axis=1), axis=1)


def cochran_q(outcomes: ArrayLike) -> Omnibus:
    """Test whether k templates have the same accuracy on the same items (Cochran's Q, chi-squared with k-1).

    Items that all templates get right, or all wrong, carry no information; if there are no others Q is 0.

    Raises:
        BadInput: not a complete table of right/wrong outcomes for at least two templates.

    Source: Cochran 1950, Biometrika 37.
    """
    table = as_table(outcomes)
    if not np.isin(table, (0, 1)).all():
        raise BadInput("cochran_q needs right/wrong outcomes (0 or 1); for means use permutation_spread")
    k = table.shape[1]
    columns, rows = table.sum(axis=0), table.sum(axis=1)
    within = float(np.sum(rows * (k - rows)))
    q = (k - 1) * k * float(np.sum((columns - columns.mean()) ** 2)) / within if within else 0.0
    return Omnibus(q, k - 1, float(scipy.stats.chi2.sf(q, k - 1)))


def _binomial_upto(n: int, accuracy: float) -> np.ndarray:
    """Return the binomial distribution function at 0 … n; beyond 12 standard deviations it is 0 or 1 in float64."""
    centre, reach = n * accuracy, 12 * (math.sqrt(n * accuracy * (1 - accuracy)) + 1)
    low, high = max(0, math.floor(centre - reach)), min(n, math.ceil(centre + reach))
    upto = np.ones(n + 1)
    upto[:low] = 0.0
    upto[low : high + 1] = scipy.stats.binom.cdf(np.arange(low, high + 1), n, accuracy)
    return upto


def _range_quantile(upto: np.ndarray, k: int, level: float) -> int:
    """Return the smallest r with P(max - min <= r) >= level, by summing P(all in x … x+r, one at x) over the minimum x."""
    n = len(upto) - 1
    below = np.concatenate([[0.0], upto[:-1]])
    x = np.flatnonzero(upto > below)  # the other minima have no probability
    below, at = below[x], upto[x]
    low, high = 0, n
    while low < high:
        r = (low + high) // 2
        top = upto[np.minimum(x + r, n)]
        if float(np.sum((top - below) ** k - (top - at) ** k)) >= level:
            high = r
        else:
            low = r + 1
    return low
