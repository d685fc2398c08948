"""Shares of variance in a complete table of outcomes, crossed random effects, and what they say of a smaller or larger study.

An outcome is the sum of effects: of its item, of its wording, of both together, and so on; those of the largest interaction cannot be
told from noise. In a balanced table every mean square estimates a known sum of variances, so these follow by subtraction, without
fitting anything, and are unbiased whatever the distribution (Cornfield & Tukey 1956; Brennan 2001, Generalizability Theory).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations

import numpy as np
from numpy.typing import ArrayLike

from workbench.errors import BadInput
from workbench.stats.arrays import Floats
from workbench.stats.intervals import LEVEL, Interval

Effect = tuple[str, ...]  # the facets of an effect: ("wording",), ("item", "wording"), …


@dataclass(frozen=True)
class VarianceComponents:
    """Variances of all effects of a crossed design, the largest interaction with noise last.

    `variances` are unbiased and so may be below 0; `shares` are Intervals of the variances without what is below 0, as parts of their sum.
    """

    effects: tuple[Effect, ...]
    mean_squares: tuple[float, ...]
    degrees: tuple[int, ...]
    variances: tuple[float, ...]
    shares: tuple[Interval, ...]

    def error(self, levels: Mapping[str, int], over: Sequence[str]) -> float:
        """Return the standard error of the mean outcome of a study with so many levels of each facet, in the outcomes' unit.

        Args:
            levels: Number of items, wordings, … of that study, for every facet.
            over: The facets that another study would draw anew, such as ("wording",); the others are kept.
        """
        each = zip(self.effects, self.variances, strict=True)
        drawn = (
            max(variance, 0.0) / float(np.prod([levels[facet] for facet in effect]))
            for effect, variance in each
            if set(effect) & set(over)
        )
        return float(np.sqrt(sum(drawn)))


def variance_components(
    outcomes: ArrayLike, facets: Sequence[str], *, draws: int = 4000, seed: int = 0, level: float = LEVEL
) -> VarianceComponents:
    """Return the variances of all effects in a table with one axis per facet, one outcome per cell and no gaps.

    The intervals of the shares are generalised confidence intervals (Weerahandi 1993): the mean squares of normal effects are
    independent and follow scaled chi-squared distributions. They are wide for a facet of few levels, which are no sample of much.

    Args:
        outcomes: Shape (levels of the first facet, of the second, …), two facets and two levels or more.

    Raises:
        BadInput: gaps, facets of another number than axes or named twice, or a facet with one level.
    """
    table = np.asarray(outcomes, dtype=np.float64)
    if table.ndim != len(facets) or len(set(facets)) < max(2, table.ndim) or min(table.shape, default=0) < 2:
        raise BadInput(
            f"got outcomes of shape {table.shape} for the facets {list(facets)}; give one axis per facet, two or more of each"
        )
    if not np.isfinite(table).all():
        raise BadInput(f"{int(np.sum(~np.isfinite(table)))} outcomes are missing; the table must be complete")
    axes = _subsets(table.ndim)
    degrees = [int(np.prod([table.shape[axis] - 1 for axis in each])) for each in axes]
    squares = np.array([_mean_square(table, each) for each in axes])
    matrix = _solve(axes, table.shape)
    variances = matrix @ squares
    drawn = np.random.default_rng(seed).chisquare(degrees, size=(draws, len(axes)))
    sampled = _shares((squares * np.array(degrees) / drawn) @ matrix.T)
    tail = (1 - level) / 2
    low, high = np.quantile(sampled, [tail, 1 - tail], axis=0)
    shares = zip(_shares(variances[None])[0], low, high, strict=True)
    return VarianceComponents(
        tuple(tuple(facets[axis] for axis in each) for each in axes),
        tuple(squares.tolist()),
        tuple(degrees),
        tuple(variances.tolist()),
        tuple(Interval(*map(float, each)) for each in shares),
    )


def _subsets(axes: int) -> list[tuple[int, ...]]:
    return list(chain.from_iterable(combinations(range(axes), size) for size in range(1, axes + 1)))


def _mean_square(table: Floats, effect: tuple[int, ...]) -> float:
    """Return the mean square of an effect: of the cells' means over all other facets, less all smaller effects."""
    others = tuple(axis for axis in range(table.ndim) if axis not in effect)
    means = table.mean(axis=others, keepdims=True)
    for axis in effect:  # removes what the other facets of the effect explain
        means = means - means.mean(axis=axis, keepdims=True)
    count = np.prod([table.shape[axis] for axis in others], dtype=float)
    degrees = np.prod([table.shape[axis] - 1 for axis in effect], dtype=float)
    return float(count * np.sum(means**2) / degrees)


def _solve(axes: Sequence[tuple[int, ...]], shape: tuple[int, ...]) -> Floats:
    """Return the matrix that makes variances of mean squares, by inclusion and exclusion of the larger effects."""
    matrix = np.zeros((len(axes), len(axes)))
    for row, effect in enumerate(axes):
        cells = np.prod([size for axis, size in enumerate(shape) if axis not in effect], dtype=float)
        for column, other in enumerate(axes):
            if set(effect) <= set(other):
                matrix[row, column] = (-1.0) ** (len(other) - len(effect)) / cells
    return matrix


def _shares(variances: Floats) -> Floats:
    """Return the parts of the sum, shape (draws, effects); all 0 where nothing varies."""
    kept = np.maximum(variances, 0.0)
    totals = kept.sum(axis=1, keepdims=True)
    return np.divide(kept, totals, out=np.zeros_like(kept), where=totals > 0)
