"""What decides whether an answer is right: the item, the wording, the language or the scorer; and what k wordings would tell."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.stats import kendalltau

from workbench.errors import BadInput
from workbench.stats.variance import VarianceComponents, variance_components

FACETS = ("cluster", "template", "language", "scorer")


def components(
    answers: pd.DataFrame, facets: Sequence[str] = FACETS, *, value: str = "correct", seed: int = 0
) -> VarianceComponents:
    """Return the variance components of one task's outcomes; a facet that is no column, or has one level, is left out.

    A cell with several outcomes counts with their mean. Of the first facet, only levels that all others have are kept (meanings that
    every language has).

    Raises:
        BadInput: fewer than two facets with two levels, or no level of the first that all others have.
    """
    used = [name for name in facets if name in answers.columns and answers[name].nunique() > 1]
    if len(used) < 2:
        raise BadInput(f"of {', '.join(facets)} only {used} vary; at least two must")
    means = answers.assign(**{value: answers[value].astype(float)}).groupby(used, sort=False)[value].mean()
    rest = [answers[name].unique() for name in used[1:]]
    wide = means.unstack(used[1:]).reindex(
        columns=pd.MultiIndex.from_product(rest) if len(rest) > 1 else rest[0]
    )
    whole = wide.dropna()
    if len(whole) < 2:
        raise BadInput(f"{len(whole)} values of {used[0]!r} have an outcome in every cell; two are needed")
    table = whole.to_numpy().reshape(len(whole), *(len(each) for each in rest))
    return variance_components(table, used, seed=seed)


def variance_shares(
    answers: pd.DataFrame, facets: Sequence[str] = FACETS, *, value: str = "correct", seed: int = 0
) -> pd.DataFrame:
    """Return the share of every effect in the variance of each task's outcomes.

    Returns:
        One row per task and effect: task, effect ("template", "cluster x template", …; the last is also noise), variance, share,
        low, high (95 %).
    """
    rows = []
    for task, group in answers.groupby("task", sort=False):
        found = components(group, facets, value=value, seed=seed)
        for effect, variance, share in zip(found.effects, found.variances, found.shares, strict=True):
            rows.append((task, " x ".join(effect), variance, share.estimate, share.low, share.high))
    return pd.DataFrame(rows, columns=["task", "effect", "variance", "share", "low", "high"])


def design_curve(
    found: VarianceComponents,
    levels: Mapping[str, int],
    wordings: Sequence[int],
    *,
    over: Sequence[str] = ("template",),
) -> pd.DataFrame:
    """Return how far accuracy over k wordings would be from that over all such wordings: the curve "k wordings give ± x".

    Args:
        levels: Number of levels of every other facet in that study.
        over: The facets that another study would draw anew.

    Returns:
        One row per k: wordings, error (standard error), plus_minus (1.96 of them).
    """
    errors = [found.error({**levels, "template": k}, over) for k in wordings]
    return pd.DataFrame({"wordings": wordings, "error": errors, "plus_minus": 1.96 * np.array(errors)})


def rank_stability(scores: pd.DataFrame) -> pd.DataFrame:
    """Return how far templates agree on the order of models: the mean of Kendall's τ over pairs of templates.

    Args:
        scores: Columns task, config, template, model, value: published scores of single templates.

    Returns:
        One row per task: tau (mean over pairs of templates and configs), lowest (of a pair), models (at least), configs. Configs
        with fewer than three models or two templates are left out.
    """
    rows = []
    for (task, config), group in scores.groupby(["task", "config"], sort=False):
        wide = group.pivot_table(index="model", columns="template", values="value").dropna()
        names = list(wide.columns)
        if len(wide) >= 3 and len(names) >= 2:
            taus = [
                kendalltau(wide[one], wide[other]).statistic
                for place, one in enumerate(names)
                for other in names[place + 1 :]
            ]
            rows.append((task, config, float(np.nanmean(taus)), float(np.nanmin(taus)), len(wide)))
    table = pd.DataFrame(rows, columns=["task", "config", "tau", "lowest", "models"])
    by_task = table.groupby("task", sort=False)
    return by_task.agg(
        tau=("tau", "mean"), lowest=("lowest", "min"), models=("models", "min"), configs=("config", "size")
    ).reset_index()
