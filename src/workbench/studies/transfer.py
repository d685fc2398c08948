"""The gain of finetuning in each language: the difference from the base on the same items, relative to chance.

A gain is a difference of two accuracies, so what the base already knew of a language is subtracted; a meaning asked in
several languages is one cluster. A finetuned checkpoint is a single draw: intervals here are over items, not over
training runs.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from workbench import stats
from workbench.errors import BadInput
from workbench.studies.sensitivity import guessed


def pair(base: pd.DataFrame, finetuned: pd.DataFrame) -> pd.DataFrame:
    """Join the answers of a base and of its finetuned model to the same prompts.

    Takes two tables of `workbench.inference.ranking.rank`. Columns: id, task, template, language, cluster, base, finetuned
    (right: 1, wrong: 0), gain (their difference), chance.

    Raises:
        BadInput: the two were not asked the same prompts.
    """
    expect_same_prompts(base, finetuned)
    columns = ["id", "task", "template", "language", "cluster"]
    left = base[columns].assign(base=base["correct"].astype(float), chance=base["choices"].map(guessed))
    right = finetuned[["task", "id"]].assign(finetuned=finetuned["correct"].astype(float))
    both = left.merge(right, on=["task", "id"], validate="one_to_one")
    return both.assign(gain=both["finetuned"] - both["base"])[
        [*columns, "base", "finetuned", "gain", "chance"]
    ]


def expect_same_prompts(first: pd.DataFrame, second: pd.DataFrame) -> None:
    """Check that two tables of `rank` have the same items, once each.

    Raises:
        BadInput: they have not; the message names some.
    """
    asked, again = ([*zip(table["task"], table["id"], strict=True)] for table in (first, second))
    if set(asked) != set(again) or not len(asked) == len(set(asked)) == len(again):
        odd = [f"{task} {item}" for task, item in sorted(set(asked) ^ set(again))[:3]]
        raise BadInput(
            f"the two tables differ in {odd or 'repeated ids'}; rank the same items with both models"
        )


def gains(paired: pd.DataFrame, by: Sequence[str] = ("language",)) -> pd.DataFrame:
    """Return the mean gain of each group of `by`, with a 95 % interval over meanings.

    Columns: those of `by`, base, finetuned, gain, low, high (fractions; `stats.paired_difference`), corrected (the gain as a
    fraction of the range from chance to perfect; an accuracy below chance counts as chance, so that it is 1 at most),
    above_chance (the finetuned accuracy above chance, likewise), n (prompts), clusters.
    """
    rows = []
    for key, group in paired.groupby(list(by), sort=False):
        interval = stats.paired_difference(group["base"], group["finetuned"], group["cluster"].to_numpy())
        base, finetuned, chance = (group[name].mean() for name in ("base", "finetuned", "chance"))
        rows.append(
            {
                **dict(zip(by, key, strict=True)),
                "base": base,
                "finetuned": finetuned,
                "gain": interval.estimate,
                "low": interval.low,
                "high": interval.high,
                "corrected": (max(finetuned, chance) - max(base, chance)) / (1 - chance),
                "above_chance": (finetuned - chance) / (1 - chance),
                "n": len(group),
                "clusters": group["cluster"].nunique(),
            }
        )
    return pd.DataFrame(rows)


def group_means(table: pd.DataFrame, group_of: Mapping[str, str], by: Sequence[str] = ()) -> pd.DataFrame:
    """Average one gain per language over groups of languages, with the spread over languages.

    Args:
        group_of: Language code -> group, such as "finetuned" or "left out".
        by: Further columns to group by, such as model.

    Returns:
        Columns: those of `by`, group, mean, spread (standard deviation over languages), worst and best (of its
        languages), languages (their number).

    Raises:
        BadInput: a language without a group.
    """
    missing = sorted(set(table["language"]) - set(group_of))
    if missing:
        raise BadInput(
            f"no group is given for the languages {', '.join(missing)}; known: {', '.join(sorted(group_of))}"
        )
    groups = table["language"].map(group_of)
    grouped = table.assign(group=groups).groupby([*by, "group"], sort=False)["gain"]
    return grouped.agg(mean="mean", spread="std", worst="min", best="max", languages="size").reset_index()


def contrast(paired: pd.DataFrame, first: Iterable[str], second: Iterable[str]) -> stats.Interval:
    """Return the mean gain in the first languages minus that in the second, on parallel meanings.

    Gains are averaged over the languages of each group within a meaning; the interval is over meanings. The languages are
    treated as fixed, so the result does not generalise to other languages.

    Raises:
        BadInput: a group without answers, or meanings that one group lacks.
    """
    sides = []
    for languages in (first, second):
        chosen = paired[paired["language"].isin(list(languages))]
        by_language = chosen.groupby(["cluster", "language"])["gain"].mean()
        sides.append(by_language.groupby("cluster").mean())
    if sides[0].empty or not sides[0].index.equals(sides[1].index):
        raise BadInput(
            "the two groups of languages do not answer the same meanings; rank parallel items in all of them"
        )
    gaps = sides[0] - sides[1]  # of counted answers: if all meanings agree, that is no certainty
    reach = max(1.0, gaps.abs().max()) if np.ptp(gaps) < 1e-9 else None
    return stats.paired_difference(sides[1], sides[0], np.asarray(sides[0].index), reach=reach)
