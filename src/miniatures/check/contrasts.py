"""Means and differences of means over predictions, with intervals from resampling meanings.

A meaning is asked in several languages, wordings and members; in every contrast, a meaning is resampled with all its
answers. Every meaning of a task has the same number of answers in a cell, so that the mean of the meanings' means
is the mean of the answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from miniatures.questions import RANKED
from workbench.errors import BadInput
from workbench.stats import Interval, bootstrap, bootstrap_ratio


@dataclass(frozen=True)
class Cell:
    """Some answers of one member: its languages, kind of wording and tasks."""

    member: str
    languages: tuple[str, ...]
    wordings: str = "seen"
    tasks: tuple[str, ...] = RANKED


def answers(table: pd.DataFrame, cell: Cell) -> pd.DataFrame:
    """Return the rows of a cell, with `above`, the chance-corrected outcome: (correct - chance) / (1 - chance).

    Raises:
        BadInput: a member, language, kind of wording or task for which the table has no answers.
    """
    rows = table[
        (table["member"] == cell.member)
        & (table["wordings"] == cell.wordings)
        & table["language"].isin(cell.languages)
        & table["task"].isin(cell.tasks)
    ]
    lacking = sorted({*cell.languages, *cell.tasks} - {*rows["language"], *rows["task"]})
    if lacking:
        raise BadInput(
            f"no answers of {cell.member} to {cell.wordings} wordings in or of {', '.join(lacking)}; "
            "compute the table with `predictions`"
        )
    correct = rows["correct"].astype(float)
    above = (correct - rows["chance"]) / (1 - rows["chance"])
    return rows.assign(correct=correct, above=above, cluster=rows["cluster"].astype(str))


def per_meaning(
    table: pd.DataFrame, terms: Sequence[tuple[float, Cell]], measure: str = "correct"
) -> pd.Series:
    """Return the weighted sum of the cells' means for each meaning: a series indexed by cluster.

    Args:
        measure: "correct", or "above": chance-corrected.

    Raises:
        BadInput: cells with different meanings.
    """
    means = [answers(table, cell).groupby("cluster", observed=True)[measure].mean() for _, cell in terms]
    if any(not one.index.equals(means[0].index) for one in means):
        raise BadInput(
            f"{terms[0][1]} and what it is compared with do not answer the same meanings; rank the same items"
        )
    total = sum(weight * one for (weight, _), one in zip(terms, means, strict=True))
    return pd.Series(total, index=means[0].index)


def interval(values: pd.Series, seed: int = 0) -> Interval:
    """Return the mean of one number per meaning with its 95 % interval."""
    return bootstrap(values.to_numpy(), values.index.to_numpy(), seed=seed)


def ratio(above: pd.Series, below: pd.Series, seed: int = 0) -> Interval:
    """Return mean(above) / mean(below) over meanings with a 95 % interval, by `stats.bootstrap_ratio`.

    Raises:
        BadInput: the two have different meanings, or fewer than two.
    """
    if not above.index.equals(below.index):
        raise BadInput(
            f"ratio got {len(above)} and {len(below)} meanings; give the same meanings twice, at least two of them"
        )
    return bootstrap_ratio(above.to_numpy(), below.to_numpy(), above.index.to_numpy(), seed=seed)
