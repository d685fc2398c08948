"""Prompt sensitivity: measures on the tables that `workbench.inference.ranking.rank` returns.

Tables are tidy, one row per answered prompt; a wording is a `template`, a meaning a `cluster`. Every measure that
compares wordings needs the complete matrix (each item under each wording) and raises BadInput otherwise.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from workbench import stats
from workbench.errors import BadInput

QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)


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
    return _expect_complete(matrix)


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


def wording_quantiles(
    ranked: pd.DataFrame, quantiles: Sequence[float] = QUANTILES, *, permutations: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Return quantiles of accuracy over wordings, for each task over all its languages, beside those of wordings that do not differ.

    The null permutes wordings within each meaning, so quantiles of many wordings differ by chance too.

    Returns:
        One row per task and quantile (0 is the worst wording, 1 the best): task, quantile, accuracy, null_mean, null_low, null_high
        (95 % of permutations), wordings, meanings.
    """
    rows = []
    for task, group in ranked.groupby("task", sort=False):
        means = group.assign(correct=group["correct"].astype(float))
        table = means.pivot_table(index="cluster", columns="template", values="correct", sort=False)
        cells = _expect_complete(table).to_numpy()
        generator = np.random.default_rng(seed)
        shuffled = np.stack(
            [
                np.quantile(generator.permuted(cells, axis=1).mean(axis=0), quantiles)
                for _ in range(permutations)
            ]
        )
        null = zip(shuffled.mean(axis=0), *np.quantile(shuffled, [0.025, 0.975], axis=0), strict=True)
        found = np.quantile(cells.mean(axis=0), quantiles)
        for quantile, accuracy, ends in zip(quantiles, found, null, strict=True):
            rows.append((task, quantile, accuracy, *ends, cells.shape[1], cells.shape[0]))
    columns = ["task", "quantile", "accuracy", "null_mean", "null_low", "null_high", "wordings", "meanings"]
    return pd.DataFrame(rows, columns=columns)


def agreement(ranked: pd.DataFrame) -> pd.DataFrame:
    """Return, for each task and language, how often wordings change the answer to the same item.

    Choices are compared by index, so templates must list them in the same order. Columns: task, language, n, alpha (Krippendorff's,
    of the chosen index: agreement corrected for chance) with alpha_low and alpha_high, flip_rate (share of items for which not all
    templates give the same choice), pss (mean over items and pairs of templates of the difference in correctness; 0: always the
    same, 0.5: a coin), always_right, always_wrong.

    Source: PSS after Zhuo et al. 2024 (arXiv:2410.12405).
    """
    rows = []
    for (task, language), group in ranked.groupby(["task", "language"], sort=False):
        chosen = outcome_matrix(group, "prediction")
        right = outcome_matrix(group).astype(float).sum(axis=1)
        k = chosen.shape[1]
        alpha = stats.krippendorff_alpha(chosen.to_numpy(dtype=int)).alpha
        rows.append(
            {
                "task": task,
                "language": language,
                "n": len(chosen),
                "alpha": alpha.estimate,
                "alpha_low": alpha.low,
                "alpha_high": alpha.high,
                "flip_rate": float((chosen.nunique(axis=1) > 1).mean()),
                "pss": float((right * (k - right)).mean() / (k * (k - 1) / 2)),
                "always_right": float((right == k).mean()),
                "always_wrong": float((right == 0).mean()),
            }
        )
    return pd.DataFrame(rows)


def least_stable(ranked: pd.DataFrame, count: int = 5) -> pd.DataFrame:
    """Return the items on whose answer wordings disagree most.

    Returns:
        At most `count` rows: task, language, cluster, disagreement (share of pairs of wordings that choose differently), right (share
        of wordings), prompt (in one of its wordings).
    """
    found = []
    for (task, language), group in ranked.groupby(["task", "language"], sort=False):
        chosen = outcome_matrix(group, "prediction")
        apart = stats.krippendorff_alpha(chosen.to_numpy(dtype=int), draws=2).disagreement
        right = outcome_matrix(group).astype(float).mean(axis=1).to_numpy()
        prompts = group.drop_duplicates("cluster").set_index("cluster")["prompt"]
        clusters = chosen.index.get_level_values("cluster")
        about = {"task": task, "language": language, "cluster": clusters, "disagreement": apart}
        found.append(pd.DataFrame({**about, "right": right, "prompt": prompts.loc[clusters].to_numpy()}))
    table = pd.concat(found).sort_values("disagreement", ascending=False, kind="stable")
    return table.head(count).reset_index(drop=True)


def label_bias(ranked: pd.DataFrame) -> pd.DataFrame:
    """Return how far predictions prefer a place among the choices over what is right, for each task and wording.

    Returns:
        One row per task and template: first (share of predictions of the first choice), gold (share of items whose first choice is
        right), bias (first - gold; 0: none).
    """
    table = ranked.assign(first=ranked["prediction"] == 0, gold=ranked["gold"] == 0)
    means = table.groupby(["task", "template"], sort=False)[["first", "gold"]].mean().reset_index()
    return means.assign(bias=means["first"] - means["gold"])


def _expect_complete(matrix: pd.DataFrame) -> pd.DataFrame:
    if matrix.isna().to_numpy().any() or matrix.shape[1] < 2:
        raise BadInput(
            f"{matrix.shape[1]} templates on {len(matrix)} items leave gaps; ask every template on every item"
        )
    return matrix


def _by_cluster(matrix: pd.DataFrame) -> np.ndarray:
    """Return one row per meaning, scaled so that column means remain the accuracies when meanings have several items."""
    totals = matrix.groupby(level="cluster", sort=False).sum()
    return np.asarray(totals.to_numpy() * len(totals) / len(matrix))
