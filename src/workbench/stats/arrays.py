"""Validation of arguments: arrays of outcomes, and their clusters."""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.errors import BadInput

Floats = NDArray[np.float64]


def as_finite(values: ArrayLike) -> Floats:
    """Return finite numbers, one per item, shape (N,)."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not np.isfinite(array).all():
        raise BadInput(
            f"got values of shape {array.shape} with {np.sum(~np.isfinite(array))} not finite; give one number per item"
        )
    return array


def as_outcomes(values: ArrayLike) -> Floats:
    """Return outcomes (1 right, 0 wrong), one per item, shape (N,)."""
    array = as_finite(values)
    if not np.isin(array, (0, 1)).all():
        raise BadInput("got outcomes other than right and wrong (1 and 0)")
    return array


def as_table(
    outcomes: ArrayLike, wanted: str = "items x templates, two templates or more", rows: int = 1
) -> Floats:
    """Return a table of finite numbers with at least `rows` rows and 2 columns; `wanted` describes it in the error message."""
    array = np.asarray(outcomes, dtype=np.float64)
    if array.ndim != 2 or array.shape[0] < rows or array.shape[1] < 2 or not np.isfinite(array).all():
        raise BadInput(f"got outcomes of shape {array.shape}; give {wanted}, no gaps")
    return array


def per_cluster(values: Floats, clusters: Sequence[Hashable] | ArrayLike) -> tuple[Floats, Floats]:
    """Return the sum and the number of values in each cluster, both of shape (K,)."""
    labels = np.asarray(clusters)
    if labels.shape != values.shape:
        raise BadInput(f"got {values.size} values and {labels.size} cluster labels; give one label per value")
    _, index = np.unique(labels, return_inverse=True)
    totals, counts = np.bincount(index, weights=values), np.bincount(index)
    return totals.astype(np.float64), counts.astype(np.float64)


def paired(first: ArrayLike, second: ArrayLike) -> Floats:
    """Return second minus first on the same items, shape (N,)."""
    before, after = as_finite(first), as_finite(second)
    if before.shape != after.shape:
        raise BadInput(f"got {before.size} and {after.size} outcomes; pair the items first")
    return after - before
