"""Averages by layer, and the layers that cannot be told from the best one."""

from collections.abc import Hashable

import pandas as pd

from workbench.errors import BadInput
from workbench.stats import bootstrap, paired_difference


def by_layer(table: pd.DataFrame, *groups: str, seed: int = 0) -> pd.DataFrame:
    """Average `correct` per layer (and per column in `groups`), with a 95 % bootstrap interval over meanings."""
    rows = []
    for key, part in table.groupby([*groups, "layer"], sort=False):
        interval = bootstrap(part["correct"].astype(float), part["meaning"], draws=1000, seed=seed)
        rows.append((*key, interval.estimate, interval.low, interval.high))
    return pd.DataFrame(rows, columns=[*groups, "layer", "accuracy", "low", "high"])


def best_layers(table: pd.DataFrame, *groups: str, draws: int = 3000, seed: int = 0) -> pd.DataFrame:
    """Return the best layer of each group, and the layers that a paired comparison does not distinguish from it.

    Each layer is compared with the best on the same texts, by `stats.paired_difference` over meanings; the intervals have a
    joint level of 95 % over the layers of a group (Bonferroni). The best layer is selected on the data on which it is
    reported, so its accuracy is slightly optimistic.

    Returns:
        One row per group: the columns in `groups`, layer (the first of the best), accuracy with low and high (95 %), alike
        (the layers not distinguished from the best, itself included), lowest (the lowest accuracy among these), first and last
        (accuracy in the embeddings and in the last layer), layers (their number, embeddings included).

    Raises:
        BadInput: a text has no score at some layer, or several that the columns in `groups` do not distinguish.
    """
    rows = []
    for key, part in table.groupby(list(groups), sort=False):
        scores = _per_layer(part, key)
        means, meanings = scores.mean(), scores.index.get_level_values("meaning").to_numpy()
        best = means.idxmax()
        interval = bootstrap(scores[best], meanings, draws=draws, seed=seed)
        level = 1 - 0.05 / max(1, len(means) - 1)
        alike = tuple(
            layer
            for layer, here in scores.items()
            if paired_difference(here, scores[best], meanings, level=level).low <= 0
        )
        ends = (interval.estimate, interval.low, interval.high)
        of_layers = (means[means.index.isin(alike)].min(), means.iloc[0], means.iloc[-1], len(means))
        rows.append((*key, best, *ends, alike, *of_layers))
    columns = ["layer", "accuracy", "low", "high", "alike", "lowest", "first", "last", "layers"]
    return pd.DataFrame(rows, columns=[*groups, *columns])


def _per_layer(part: pd.DataFrame, key: tuple[Hashable, ...]) -> pd.DataFrame:
    """Return one row per text and one column per layer, without gaps."""
    text = ["meaning", "language"]
    twice = int(part.duplicated([*text, "layer"]).sum())
    if twice:
        raise BadInput(
            f"{twice} scores of {key} repeat a meaning, language and layer; name the columns that distinguish them in `groups`"
        )
    scores = part.pivot(index=text, columns="layer", values="correct").astype(float)
    gaps = int(scores.isna().to_numpy().sum())
    if gaps:
        raise BadInput(f"{gaps} scores of {key} are missing; score every text at every layer")
    return scores
