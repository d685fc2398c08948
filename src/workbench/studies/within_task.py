"""Comparisons of groups of languages within tasks, with the languages as a sample of others.

A mean over all pairs of task and language compares tasks as well: if one group has more languages in an easy task, it looks better
(Simpson's paradox). Here each task counts equally in both groups, and intervals are over languages: a language in several tasks
is one cluster, and the few that there are say how far a difference would hold in others.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import pandas as pd

from workbench.errors import BadInput
from workbench.stats.few_clusters import FewClusters, cell_contrast

ALL = "all, equally weighted"  # the line of a table that averages over tasks


@dataclass(frozen=True)
class Gap:
    """The difference of two groups of languages.

    `pooled` is the difference of plain means over pairs of task and language, `within` that of the means in which each task
    counts equally, and `composition` what the first owes to the unequal number of languages per task. `tasks` has a row per task:
    task, first and second (means), gap, low, high (over languages; missing where a group has one), languages ("8 / 6"), degrees;
    the last row, `ALL`, is `within`.
    """

    pooled: float
    within: FewClusters
    tasks: pd.DataFrame

    @property
    def composition(self) -> float:
        """What unequal numbers of languages per task add to the pooled difference."""
        return self.pooled - self.within.estimate


def gap(
    table: pd.DataFrame,
    *,
    group: str,
    first: object,
    second: object,
    value: str = "value",
    task: str = "task",
) -> Gap:
    """Compare the means of two groups of languages, within each task and over tasks.

    Args:
        table: One value per task and language, with the columns task, language, `group` and `value`.
        group: Column that says which group a language is in; rows of neither are ignored.
        task: Column of what is held constant.

    Raises:
        BadInput: a task that one of the groups lacks, a task without two languages in each, or two values in one place.
    """
    both = table[table[group].isin([first, second])].reset_index(drop=True)
    _expect_one(both, [task], value)
    sides = both[group].map({first: 1, second: -1}).astype(int)
    names = list(dict.fromkeys(both[task]))
    for name in names:
        if both.loc[both[task] == name, group].nunique() < 2:
            raise BadInput(f"{name!r} has languages of one group only; leave the task out or compare others")
    rows = [_row(both[both[task] == name], sides, value, name) for name in names]
    cells = list(zip(both[task], sides, strict=True))
    weights: dict[Hashable, float] = {(one, side): side / len(names) for one in names for side in (1, -1)}
    within = cell_contrast(both[value], cells, list(both["language"]), weights)
    means = pd.DataFrame(rows)[["first", "second"]].mean().to_dict()
    last: dict[str, object] = {**_told(ALL, within), "first": means["first"], "second": means["second"]}
    rows.append({**last, "languages": _counts(both, sides)})
    pooled = both.loc[sides == 1, value].mean() - both.loc[sides == -1, value].mean()
    return Gap(float(pooled), within, pd.DataFrame(rows))


def language_means(
    table: pd.DataFrame, by: Sequence[str], *, value: str = "value", task: str = "task"
) -> pd.DataFrame:
    """Average over tasks, equally weighted, and over languages, with an interval over languages.

    One value per task and language is expected within `by`. Columns: those of `by`, mean, low and high (missing if a task
    has one language), worst and best (single values), languages (their number), degrees.

    Raises:
        BadInput: two values in one place.
    """
    _expect_one(table, [*by, task], value)
    rows = []
    for key, rows_of in table.groupby(list(by), sort=False):
        names = list(dict.fromkeys(rows_of[task]))
        sizes = rows_of.groupby(task)["language"].nunique()
        means = rows_of.groupby(task)[value].mean()
        found: dict[str, object] = {"mean": means.mean(), "languages": rows_of["language"].nunique()}
        if sizes.min() > 1:
            weights = dict.fromkeys(names, 1 / len(names))
            one = cell_contrast(rows_of[value], list(rows_of[task]), list(rows_of["language"]), weights)
            found |= {"low": one.low, "high": one.high, "degrees": one.degrees}
        ends = {"worst": rows_of[value].min(), "best": rows_of[value].max()}
        rows.append({**dict(zip(by, key, strict=True)), **found, **ends})
    columns = [*by, "mean", "low", "high", "worst", "best", "languages", "degrees"]
    return pd.DataFrame(rows, columns=columns)


def _row(rows: pd.DataFrame, sides: "pd.Series[int]", value: str, name: object) -> dict[str, object]:
    sides = sides[rows.index]
    first, second = (rows.loc[sides == side, value].mean() for side in (1, -1))
    means = {"first": first, "second": second, "languages": _counts(rows, sides)}
    few = rows.groupby(sides)["language"].nunique().min() < 2
    if few:
        return {"task": name, **means, "gap": first - second}
    found = cell_contrast(rows[value], list(sides), list(rows["language"]), {1: 1.0, -1: -1.0})
    return _told(name, found) | means


def _told(name: object, found: FewClusters) -> dict[str, object]:
    ends = {"gap": found.estimate, "low": found.low, "high": found.high, "degrees": found.degrees}
    return {"task": name, "first": None, "second": None, **ends}


def _counts(rows: pd.DataFrame, sides: "pd.Series[int]") -> str:
    return " / ".join(str(rows.loc[sides == side, "language"].nunique()) for side in (1, -1))


def _expect_one(table: pd.DataFrame, by: Sequence[str], value: str) -> None:
    if table.duplicated([*by, "language"]).any():
        raise BadInput(
            f"some pairs of {' and '.join(by)} and language have several values of {value!r}; filter or average them first"
        )
