"""What a version of a prompt changes, beside another version of the same prompts, and whether "it changes nothing" can be said."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from workbench import stats
from workbench.errors import BadInput

_EFFECT = ("effect", "low", "high", "p_equivalent")


def border_effects(
    outcomes: pd.DataFrame, measures: Sequence[str], *, reference: str = "open", margin: float = 0.1
) -> pd.DataFrame:
    """Compare measures of every version with those of one of them, for each model.

    Args:
        outcomes: Columns model, version, cluster and the measures (missing values are left out in pairs); the versions of a model
            have the same items in the same order.
        reference: The version with which the others are compared.
        margin: The largest change of a measure between 0 and 1 that counts as negligible.

    Returns:
        One row per model, version and measure: reference (the mean in that version), value (in this version), effect (their difference),
        low, high (95 %, over meanings: `stats.paired_difference`), p_equivalent (`stats.equivalence`, small: closer than
        `margin`; missing for measures beyond 0 and 1), meanings; all missing where fewer than two meanings have the measure.

    Raises:
        BadInput: a model lacks the reference, or has versions with other items than it.
    """
    rows = []
    for model, group in outcomes.groupby("model", sort=False):
        versions = {str(name): part for name, part in group.groupby("version", sort=False)}
        if reference not in versions:
            raise BadInput(f"{model!r} has the versions {', '.join(versions)}; {reference!r} is needed")
        base = versions.pop(reference)
        for name, other in versions.items():
            if base["cluster"].tolist() != other["cluster"].tolist():
                raise BadInput(
                    f"the prompts of {model!r} in the versions {reference!r} and {name!r} are not the same items in the same order"
                )
            rows += [(model, name, measure, *_effect(base, other, measure, margin)) for measure in measures]
    return pd.DataFrame(
        rows, columns=["model", "version", "measure", "reference", "value", *_EFFECT, "meanings"]
    )


def _effect(
    base: pd.DataFrame, other: pd.DataFrame, measure: str, margin: float
) -> tuple[float, float, float, float, float, float, int]:
    first, second = base[measure].to_numpy(dtype=float), other[measure].to_numpy(dtype=float)
    there = np.isfinite(first) & np.isfinite(second)
    first, second, clusters = first[there], second[there], base["cluster"].to_numpy()[there]
    if len(set(clusters)) < 2:
        none = float("nan")
        return none, none, none, none, none, none, len(set(clusters))
    share = 0 <= min(first.min(), second.min()) <= max(first.max(), second.max()) <= 1
    found = stats.paired_difference(first, second, clusters, reach=1.0 if share else None)
    same = stats.equivalence(first, second, clusters, margin=margin) if share else float("nan")
    ends = (found.estimate, found.low, found.high)
    return float(first.mean()), float(second.mean()), *ends, same, len(set(clusters))
