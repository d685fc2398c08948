"""Agreement of several raters on the same units, corrected for the agreement that guessing with the same labels gives."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from workbench.errors import BadInput
from workbench.stats.arrays import Floats
from workbench.stats.intervals import Interval, bootstrap


@dataclass(frozen=True)
class Agreement:
    """Krippendorff's alpha (1: always agreed, 0: as by chance) and for each unit the share of pairs of raters that disagree, shape (N,)."""

    alpha: Interval
    disagreement: Floats


def krippendorff_alpha(labels: ArrayLike, *, draws: int = 2000, seed: int = 0) -> Agreement:
    """Return the agreement of k raters on N units with nominal labels and no gaps, with a 95 % interval over units.

    The interval resamples units; the disagreement expected by chance is kept. Where all labels are equal there is nothing to
    agree on, and alpha is missing.

    Args:
        labels: Shape (units, raters): numbers or strings; two of each or more.

    Raises:
        BadInput: another shape.

    Source: Krippendorff 2011, Computing Krippendorff's Alpha-Reliability.
    """
    table = np.asarray(labels)
    if table.ndim != 2 or min(table.shape) < 2:
        raise BadInput(f"got labels of shape {table.shape}; give units x raters, two of each or more")
    kinds, index = np.unique(table, return_inverse=True)
    units, raters = table.shape
    index = index.reshape(table.shape)
    counts = np.stack([np.sum(index == kind, axis=1) for kind in range(len(kinds))], axis=1).astype(float)
    disagreement = (raters**2 - np.sum(counts**2, axis=1)) / (raters * (raters - 1))
    totals = counts.sum(axis=0)
    expected = (table.size**2 - float(np.sum(totals**2))) / (table.size * (table.size - 1))
    if expected == 0:
        return Agreement(Interval(float("nan"), float("nan"), float("nan")), disagreement)
    found = bootstrap(disagreement, np.arange(units), draws=draws, seed=seed)
    return Agreement(
        Interval(
            1 - found.estimate / expected, 1 - found.high / expected, min(1.0, 1 - found.low / expected)
        ),
        disagreement,
    )
