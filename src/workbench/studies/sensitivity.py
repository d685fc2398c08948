"""Prompt sensitivity: measures on the tables that `workbench.inference.ranking.rank` returns.

Tables are tidy, one row per answered prompt; a wording is a `template`, a meaning a `cluster`. Every measure that
compares wordings needs the complete matrix (each item under each wording) and raises BadInput otherwise.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from workbench import stats
from workbench.errors import BadInput


def accuracies(ranked: pd.DataFrame, by: Sequence[str] = ("template", "language")) -> pd.DataFrame:
    """Return accuracy with a 95 % interval for each group of `by`.

    Wilson's interval if each meaning occurs once, a bootstrap over meanings if some occur more often.
    Columns: those of `by`, accuracy, low, high (fractions), n (prompts), chance (1 / number of choices, averaged).
    """
    rows = []
    for key, group in ranked.groupby(list(by), sort=False):
        interval = stats.mean_interval(group["correct"], group["cluster"])
        rows.append((*key, interval.estimate, interval.low, interval.high, len(group), chance(group)))
    return pd.DataFrame(rows, columns=[*by, "accuracy", "low", "high", "n", "chance"])


def chance(ranked: pd.DataFrame) -> float:
    """Return the accuracy of guessing: 1 / number of choices, averaged; 0 without choices."""
    return float(ranked["choices"].map(guessed).mean())


def guessed(choices: Sequence[str]) -> float:
    """Return the probability of guessing right among choices; 0 if there are none."""
    return 1 / len(choices) if len(choices) else 0.0


def shortest_is_right(choices: Sequence[str], gold: int) -> float:
    """Return the probability of being right for a rule that knows no meaning: take the shortest choice, or one of several.

    Likelihoods prefer short texts, so a model that understands nothing is between chance and the mean of this.
    """
    lengths = [len(choice) for choice in choices]
    return (lengths[gold] == min(lengths)) / lengths.count(min(lengths))


def shortest(ranked: pd.DataFrame) -> float:
    """Return the accuracy of taking the shortest choice, averaged over prompts."""
    return float(np.mean([*map(shortest_is_right, ranked["choices"], ranked["gold"])]))


def outcome_matrix(ranked: pd.DataFrame, value: str = "correct") -> pd.DataFrame:
    """Arrange one task in one language as items x templates, indexed by cluster and number within it.

    Raises:
        BadInput: several languages or tasks, a template asked on other items than the rest, or only one template.
    """
    for column in ("task", "language"):
        if ranked[column].nunique() != 1:
            raise BadInput(
                f"outcome_matrix got {ranked[column].nunique()} values of {column}; select one first"
            )
    number = ranked.groupby(["template", "cluster"], sort=False).cumcount()
    matrix = ranked.assign(number=number).pivot(index=["cluster", "number"], columns="template", values=value)
    if matrix.isna().to_numpy().any() or matrix.shape[1] < 2:
        raise BadInput(
            f"{matrix.shape[1]} templates on {len(matrix)} items leave gaps; ask every template on every item"
        )
    return matrix


def spreads(ranked: pd.DataFrame, *, permutations: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Test, for each task and language, whether accuracy differs over templates by more than chance.

    The null permutes templates within each meaning, which preserves the difficulty of each. Columns: task, language,
    templates, n (items), worst, best, spread, null_mean, null_high (95 % point), excess, p_value, and p_cochran of
    Cochran's Q, a second test that uses all templates and not only the extremes (none for measures other than right and wrong).
    """
    rows = []
    for (task, language), group in ranked.groupby(["task", "language"], sort=False):
        matrix = outcome_matrix(group).astype(float)
        test = stats.permutation_spread(_by_cluster(matrix), permutations=permutations, seed=seed)
        means, binary = matrix.mean(), bool(np.isin(matrix, (0, 1)).all())
        rows.append(
            {
                "task": task,
                "language": language,
                "templates": matrix.shape[1],
                "n": len(matrix),
                "worst": float(means.min()),
                "best": float(means.max()),
                "spread": test.spread,
                "null_mean": test.null_mean,
                "null_high": test.null_high,
                "excess": test.excess,
                "p_value": test.p_value,
                "p_cochran": stats.cochran_q(matrix.to_numpy()).p_value if binary else float("nan"),
            }
        )
    return pd.DataFrame(rows)


def agreement(ranked: pd.DataFrame) -> pd.DataFrame:
    """Return, for each task and language, how often wordings change the answer to the same item.

    Choices are compared by index, so templates must list them in the same order. Columns: task, language, n,
    flip_rate (share of items for which not all templates give the same choice), pss (mean over items and pairs of
    templates of the difference in correctness; 0: always the same, 0.5: a coin), always_right, always_wrong.

    Source: PSS after Zhuo et al. 2024 (arXiv:2410.12405).
    """
    rows = []
    for (task, language), group in ranked.groupby(["task", "language"], sort=False):
        chosen = outcome_matrix(group, "prediction")
        right = outcome_matrix(group).astype(float).sum(axis=1)
        k = chosen.shape[1]
        rows.append(
            {
                "task": task,
                "language": language,
                "n": len(chosen),
                "flip_rate": float((chosen.nunique(axis=1) > 1).mean()),
                "pss": float((right * (k - right)).mean() / (k * (k - 1) / 2)),
                "always_right": float((right == k).mean()),
                "always_wrong": float((right == 0).mean()),
            }
        )
    return pd.DataFrame(rows)


def _by_cluster(matrix: pd.DataFrame) -> np.ndarray:
    """Return one row per meaning, scaled so that column means remain the accuracies when meanings have several items."""
    totals = matrix.groupby(level="cluster", sort=False).sum()
    return np.asarray(totals.to_numpy() * len(totals) / len(matrix))
