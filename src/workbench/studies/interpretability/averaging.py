"""Means of a measure over groups of a tidy table, with intervals over clusters."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from workbench import stats


def mean_by(table: pd.DataFrame, by: Sequence[str], value: str) -> pd.DataFrame:
    """Return the mean of a column in each group of `by`, in the table's order, with a 95 % t interval over clusters.

    Columns: those of `by`, the value, low, high, n (rows), clusters.

    Raises:
        BadInput: a group with fewer than two clusters.
    """
    rows = []
    for key, part in table.groupby(list(by), sort=False):
        clusters = part["cluster"].to_numpy()
        found = stats.paired_difference(np.zeros(len(part)), part[value], clusters, reach=None)
        rows.append((*key, found.estimate, found.low, found.high, len(part), len({*clusters})))
    return pd.DataFrame(rows, columns=[*by, value, "low", "high", "n", "clusters"])
