"""Models trained several times: intervals over seeds and items together."""

from collections.abc import Sequence

import numpy as np
import scipy
from numpy.typing import ArrayLike

from workbench.errors import BadInput
from workbench.stats.arrays import Floats, as_table
from workbench.stats.intervals import UPPER, Interval

_SHAPE = "seeds x items, two of each or more"


def multi_bootstrap(
    outcomes: ArrayLike,
    baseline: ArrayLike | None = None,
    *,
    paired_seeds: bool = True,
    draws: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return the mean of `outcomes` (minus that of `baseline`) with a 95 % interval over other seeds and other items.

    Seeds and items are resampled together, which counts the residual of a cell (seed by item) three times. The draws
    therefore determine only the shape of the interval; its width comes from mean squares, with a t distribution's factor for
    few seeds.

    In simulations it has its nominal coverage with ten seeds, and 93 to 97 % instead of 95 with five.

    Args:
        outcomes: Shape (seeds, items), right/wrong or means over a cluster; items independent.
        baseline: The same items, answered by models trained in another way.
        paired_seeds: Row i of both had the same start (initial weights or data order), so rows are paired.

    Raises:
        BadInput: fewer than two seeds or items, gaps, other items, or paired seeds of different numbers.

    Source: the resampling after Sellam et al. 2022 (arXiv:2106.16163); Satterthwaite 1946 for the degrees of freedom.
    """
    arms = _arms(outcomes, baseline, paired_seeds)
    variance, degrees = _variance(arms)
    estimate = sum(float(arm.mean()) for arm in arms)
    if variance == 0:
        return Interval(estimate, estimate, estimate)
    deviations = _resampled(arms, draws, np.random.default_rng(seed))
    ends = np.quantile(deviations - deviations.mean(), [1 - UPPER, UPPER])
    wider = float(scipy.stats.t.ppf(UPPER, degrees) / scipy.stats.norm.ppf(UPPER))
    low, high = ends * wider * np.sqrt(variance) / deviations.std()
    return Interval(estimate, float(estimate + low), float(estimate + high))


def _resampled(arms: Sequence[Floats], draws: int, generator: np.random.Generator) -> Floats:
    """Return the sum of the arms' means on resampled seeds (per arm) and resampled items (shared), shape (draws,)."""
    items = arms[0].shape[1]
    picked = generator.integers(0, items, size=(draws, items)) + items * np.arange(draws)[:, None]
    weights = np.bincount(picked.ravel(), minlength=draws * items).reshape(draws, items) / items
    sums = np.zeros((draws, items))
    for arm in arms:
        count = len(arm)
        sums += generator.multinomial(count, np.full(count, 1 / count), size=draws) / count @ arm
    return np.asarray(np.einsum("di,di->d", sums, weights))


def _arms(outcomes: ArrayLike, baseline: ArrayLike | None, paired_seeds: bool) -> list[Floats]:
    """Return the tables whose means add up to the estimate: one, or two if seeds are not paired."""
    ours = as_table(outcomes, _SHAPE, rows=2)
    if baseline is None:
        return [ours]
    theirs = as_table(baseline, _SHAPE, rows=2)
    if ours.shape[1] != theirs.shape[1] or (paired_seeds and len(ours) != len(theirs)):
        raise BadInput(
            f"multi_bootstrap got tables of shape {ours.shape} and {theirs.shape}; give the same items, and as many seeds "
            "(or paired_seeds=False)"
        )
    return [ours - theirs] if paired_seeds else [ours, -theirs]


def _variance(arms: Sequence[Floats]) -> tuple[float, float]:
    """Return the variance of the sum of the arms' means, and its degrees of freedom.

    Items are shared: the variance of their sums over arms contains the items' component and the cells' residual. Each arm has
    its own seeds: they add their mean square beyond the residual.
    """
    items = arms[0].shape[1]
    per_item = np.sum([arm.mean(axis=0) for arm in arms], axis=0)
    parts = [(float(per_item.var(ddof=1)) / items, items - 1)]
    for arm in arms:
        seeds = len(arm)
        row, column = arm.mean(axis=1, keepdims=True), arm.mean(axis=0, keepdims=True)
        left = float(np.sum((arm - row - column + arm.mean()) ** 2)) / ((seeds - 1) * (items - 1))
        between = items * float(row.var(ddof=1))
        parts.append((max(0.0, between - left) / arm.size, seeds - 1))
    variance = sum(part for part, _ in parts)
    if variance == 0:
        return 0.0, 1.0
    return variance, variance**2 / sum(part**2 / degrees for part, degrees in parts)
