"""Tables of an evaluation: accuracy by language and template, and comparisons of models, with intervals.

An item asked in several languages or templates is one cluster; clusters are resampled. Fractions, not percent.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from workbench import stats
from workbench.errors import UnknownName
from workbench.studies import sensitivity, transfer

ALL = "all"  # in the column `language`: the mean over languages, with equal weights


def by_template(ranked: pd.DataFrame) -> pd.DataFrame:
    """Return the accuracy of each model, language and template: the columns of `sensitivity.accuracies`, ties and truncated.

    `ties` counts items whose margin is within the numerical differences between batches or machines, `truncated` the
    truncated prompts. Of generated answers the accuracy is named after what is measured, and `truncated` counts answers that
    reached the limit of tokens.
    """
    keys = ["model", "task", "language", "template"]
    table = sensitivity.accuracies(ranked, by=keys)
    counts = (
        ranked.groupby(keys, sort=False)[["tie", "truncated"]]
        .sum()
        .astype(int)
        .rename(columns={"tie": "ties"})
    )
    table = table.merge(counts.reset_index(), on=keys, validate="one_to_one")
    return table.rename(columns={"accuracy": ranked["measure"].iloc[0]}) if "measure" in ranked else table


def by_language(ranked: pd.DataFrame) -> pd.DataFrame:
    """Return the accuracy of each model and language over all templates, its spread over templates, and chance.

    Columns: model, task, language ("all": mean over languages), templates, n (prompts), mean with its interval low, high
    (95 %, clusters resampled), median, best, worst (of the templates), spread (best minus worst, of the templates that skip
    no row), null (its mean when templates are permuted within each item), p_spread (after Holm, over a model's languages), chance,
    ties, truncated. The row "all" has no spread. Generated answers have further `measure`, what `mean` is the mean of, and `f1`.
    """
    rows = []
    for (model, task), group in ranked.groupby(["model", "task"], sort=False):
        found = [_language_row(part, code) for code, part in group.groupby("language", sort=False)]
        if len(found) > 1:
            found.append(_all_row(group, found))
        tested = [row for row in found if not np.isnan(row["p_spread"])]
        for row, adjusted in zip(tested, stats.holm([row["p_spread"] for row in tested]), strict=True):
            row["p_spread"] = float(adjusted)
        rows += [{"model": model, "task": task, **row} for row in found]
    return pd.DataFrame(rows)


def compare(ranked: pd.DataFrame, first: str, second: str, *, margin: float = 0.05) -> pd.DataFrame:
    """Compare two models on the same prompts, by language.

    Columns: language ("all" for all prompts together), first, second (accuracies), difference (second - first), low, high
    (95 %, over clusters), p_value (exact McNemar if every item was asked once, else sign flips of clusters),
    p_holm (over the languages), p_equivalent (small: closer than `margin`; it takes many clusters,
    see `stats.equivalence`), n.

    Raises:
        UnknownName: a model that the table does not have.
        BadInput: the two were not asked the same prompts, or a margin that is not between 0 and 1.
    """
    models = list(dict.fromkeys(ranked["model"]))
    for name in (first, second):
        if name not in models:
            raise UnknownName(f"no answers of {name!r} to compare; there are those of: {', '.join(models)}")
    both = transfer.pair(*(ranked[ranked["model"] == name] for name in (first, second)))
    groups = [(str(code), part) for code, part in both.groupby("language", sort=False)]
    rows = [_comparison(code, part, margin) for code, part in groups]
    table = pd.DataFrame(rows).assign(p_holm=lambda t: stats.holm(t["p_value"]))
    if len(groups) > 1:
        whole = pd.DataFrame([_comparison(ALL, both, margin)]).assign(p_holm=np.nan)
        table = pd.concat([table, whole], ignore_index=True)
    return table


def compare_all(ranked: pd.DataFrame, first: str, others: Iterable[str], *, margin: float) -> pd.DataFrame:
    """Compare the first model with each of the others, as `compare`; `models` names the pair. Empty without others."""
    tables = [
        compare(ranked, first, other, margin=margin).assign(models=f"{first} / {other}") for other in others
    ]
    if not tables:
        return pd.DataFrame()
    whole = pd.concat(tables)
    return whole[["models", *whole.columns.drop("models")]]


def _language_row(part: pd.DataFrame, language: object) -> dict[str, Any]:
    interval = stats.mean_interval(part["correct"], part["cluster"])
    means = part["correct"].astype(float).groupby(part["template"], sort=False).mean()
    spread = null = p_value = float("nan")
    whole = _of_all_items(part)
    if whole["template"].nunique() > 1:
        test = sensitivity.spreads(whole, permutations=1000).iloc[0]
        spread, null, p_value = float(test["spread"]), float(test["null_mean"]), float(test["p_value"])
    return {
        "language": language, **_of_generated(part), "templates": len(means), "n": len(part), "mean": interval.estimate, "low": interval.low,
        "high": interval.high, "median": float(means.median()), "best": float(means.max()), "worst": float(means.min()),
        "spread": spread, "null": null, "p_spread": p_value, "chance": sensitivity.chance(part),
        "ties": int(part["tie"].sum()), "truncated": int(part["truncated"].sum()),
    }  # fmt: skip


def _of_generated(part: pd.DataFrame) -> dict[str, Any]:
    """Return what is measured of generated answers, and their mean F1 with the right texts; nothing if choices were ranked."""
    f1 = {"f1": float(part["f1"].mean())} if "f1" in part else {}
    return {"measure": part["measure"].iloc[0], **f1} if "measure" in part else {}


def _of_all_items(part: pd.DataFrame) -> pd.DataFrame:
    """Return the answers to the templates that were asked on every item; other templates skip rows that they do not fit."""
    counts = part.groupby(["template", "cluster"]).size().unstack(fill_value=0)
    complete = counts.index[(counts == counts.max()).all(axis=1)]
    return part[part["template"].isin(complete)]


def _all_row(group: pd.DataFrame, found: list[dict[str, Any]]) -> dict[str, Any]:
    size = group["language"].map(group["language"].value_counts())
    weighted = (
        group["correct"].astype(float) * len(group) / (len(found) * size)
    )  # languages have equal weights
    interval = stats.mean_interval(weighted, group["cluster"])
    means = {
        name: float(np.mean([float(row[name]) for row in found]))
        for name in ("median", "best", "worst", "chance")
    }
    nothing = dict.fromkeys(("spread", "null", "p_spread"), float("nan"))
    return {
        "language": ALL, **_of_generated(group), "templates": max(row["templates"] for row in found), "n": len(group),
        "mean": interval.estimate, "low": interval.low, "high": interval.high, **means, **nothing,
        "ties": int(group["tie"].sum()), "truncated": int(group["truncated"].sum()),
    }  # fmt: skip


def _comparison(language: str, part: pd.DataFrame, margin: float) -> dict[str, Any]:
    first, second, clusters = part["base"], part["finetuned"], part["cluster"]
    interval = stats.paired_difference(first, second, clusters)
    alone = clusters.is_unique and bool(part[["base", "finetuned"]].isin((0, 1)).all(axis=None))
    p_value = stats.mcnemar(first, second).p_value if alone else stats.sign_flip(first, second, clusters)
    p_equivalent = stats.equivalence(first, second, clusters, margin=margin)
    return {
        "language": language, "first": first.mean(), "second": second.mean(), "difference": interval.estimate,
        "low": interval.low, "high": interval.high, "p_value": p_value, "p_equivalent": p_equivalent, "n": len(part),
    }  # fmt: skip
