"""The best wording chosen on one half of the meanings and judged on the other, and quantiles over wordings from part of the cells."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from workbench.errors import BadInput
from workbench.studies.sensitivity import outcome_matrix

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def best_on_half(ranked: pd.DataFrame, *, splits: int = 200, seed: int = 0) -> pd.DataFrame:
    """Choose the best wording on a random half of the meanings and judge it on the other, for each task and language.

    Returns:
        One row per task and language: chosen_on (its accuracy on the half that chose it), judged_on (on the other half), mean (of all
        wordings), best (of the best wording, on everything), luck (chosen_on - judged_on), gain (judged_on - mean); means over splits.
    """
    rows = []
    for (task, language), group in ranked.groupby(["task", "language"], sort=False):
        table = outcome_matrix(group).astype(float).groupby(level="cluster", sort=False).mean().to_numpy()
        generator, half = np.random.default_rng(seed), len(table) // 2
        halves = []
        for _ in range(splits):
            order = generator.permutation(len(table))
            first, second = table[order[:half]].mean(axis=0), table[order[half:]].mean(axis=0)
            ties = np.flatnonzero(first == first.max())
            halves.append((first.max(), second[ties].mean()))
        chosen, judged = np.mean(halves, axis=0)
        whole = table.mean(axis=0)
        rows.append((task, language, chosen, judged, whole.mean(), whole.max()))
    found = pd.DataFrame(rows, columns=["task", "language", "chosen_on", "judged_on", "mean", "best"])
    return found.assign(luck=found["chosen_on"] - found["judged_on"], gain=found["judged_on"] - found["mean"])


def quantiles_from_part(
    outcomes: np.ndarray,
    part: float,
    *,
    draws: int = 20,
    quantiles: Sequence[float] = QUANTILES,
    seed: int = 0,
) -> pd.DataFrame:
    """Estimate quantiles of accuracy over wordings from part of the cells of a complete matrix, and compare with the whole.

    A logistic model of wording and item (Rasch's) fills the cells that were not asked; beside it stands what the asked cells alone give.

    Args:
        outcomes: Right and wrong, shape (items, wordings).
        part: The share of cells that is asked, drawn so that wordings get equally many.

    Returns:
        One row per quantile: quantile, truth, filled and asked (means over draws), filled_error and asked_error (root mean squares).

    Raises:
        BadInput: a part outside 0 … 1, or with less than one cell per wording.

    Source: PromptEval, Polo et al. 2024 (arXiv:2405.17202).
    """
    table = np.asarray(outcomes, dtype=float)
    each = round(part * len(table))
    if not 0 < part < 1 or each < 1:
        raise BadInput(f"part={part} of {len(table)} items is {each} cells per wording; give more, below all")
    generator, truth = np.random.default_rng(seed), np.quantile(table.mean(axis=0), quantiles)
    filled, asked = [], []
    for _ in range(draws):
        known = np.zeros(table.shape, dtype=bool)
        for column in range(table.shape[1]):
            known[generator.permutation(len(table))[:each], column] = True
        filled.append(np.quantile(_filled(table, known).mean(axis=0), quantiles))
        asked.append(np.quantile(np.nanmean(np.where(known, table, np.nan), axis=0), quantiles))
    errors = [np.sqrt(np.mean((np.array(one) - truth) ** 2, axis=0)) for one in (filled, asked)]
    means = [np.mean(one, axis=0) for one in (filled, asked)]
    columns = ("quantile", "truth", "filled", "asked", "filled_error", "asked_error")
    return pd.DataFrame(dict(zip(columns, (quantiles, truth, *means, *errors), strict=True)))


def _filled(table: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return the table with the cells that are not known replaced by their probability under Rasch's model."""
    items, wordings = table.shape
    rows, columns = np.indices(table.shape)
    design = np.concatenate([np.eye(items)[rows.ravel()], np.eye(wordings)[columns.ravel()]], axis=1)
    seen = known.ravel()
    right = table.ravel()[seen] > 0.5
    if right.all() or not right.any():
        return np.where(known, table, float(right.all()))
    fitted = LogisticRegression(C=1.0, max_iter=200).fit(design[seen], right)
    return np.where(known, table, fitted.predict_proba(design)[:, 1].reshape(table.shape))
