"""What quantization costs, and whom: the loss of the right answer, flips, and their slope over what a model saw of the languages.

The same items are ranked with the plain weights and with a changed form of them. The control is Gaussian noise of equal norm
(`workbench.models.simulated`): what it costs, any damage of that size costs, and only what rounding costs beyond it is rounding's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import factorial, prod

import numpy as np
import pandas as pd

from workbench import stats
from workbench.errors import BadInput
from workbench.studies.transfer import expect_same_prompts

MEASURES = ("loss", "moved", "per_token", "flip")
_ALL = 400_000  # orders at most that are all tried: nine languages have 362,880
_DRAWS = 20_000  # orders that are drawn where there are more
_ROUNDING = 1e-9  # by which equal slopes may differ, as a fraction


@dataclass(frozen=True)
class Slope:
    """Change of a measure per unit of exposure, in the measure's unit: below 0, languages that a model saw less of lose more.

    `low` and `high` are of a 95 % interval over meanings, for these languages. `p_value` is of the two-sided permutation test of
    languages against exposures, over all `orders` of them if `is_exact`. One order in `orders` is the smallest p-value there can be.
    """

    estimate: float
    low: float
    high: float
    p_value: float
    orders: int
    is_exact: bool


def losses(plain: pd.DataFrame, changed: pd.DataFrame) -> pd.DataFrame:
    """Join the answers of two forms of a model to the same prompts.

    Takes two tables of `workbench.inference.ranking.rank`. Columns: id, task, template, language, cluster, loss (nats by which the
    score of the right answer fell), moved (nats by which it moved, up or down), per_token (the loss per token of the answer), flip
    (another prediction: 1).

    Raises:
        BadInput: the two were not asked the same prompts, or under another protocol; or an item has no right answer.
    """
    expect_same_prompts(plain, changed)
    if set(plain["protocol"]) != set(changed["protocol"]):
        raise BadInput("the two tables are scored by different protocols; rank both with one")
    if plain["gold"].isna().any():
        raise BadInput("an item without a right answer has no loss; give every item its gold")
    left, right = (_scored(table) for table in (plain, changed))
    columns = ["task", "id", "right", "prediction"]
    both = left.merge(right[columns], on=["task", "id"], suffixes=("", "_after"), validate="one_to_one")
    loss = both["right"] - both["right_after"]
    return both[["id", "task", "template", "language", "cluster"]].assign(
        loss=loss,
        moved=loss.abs(),
        per_token=loss / both["length"],
        flip=(both["prediction"] != both["prediction_after"]).astype(float),
    )


def beyond(rounding: pd.DataFrame, noise: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the measures of a form minus their mean under noise, item by item; all tables as `losses` returns them.

    Raises:
        BadInput: no noise, or noise that was measured on other prompts.
    """
    if not noise:
        raise BadInput("nothing to compare with; give the losses under noise of at least one seed")
    for each in noise:
        expect_same_prompts(rounding, each)
    control = pd.concat(noise).groupby(["task", "id"])[[*MEASURES]].mean()
    keys = pd.MultiIndex.from_frame(rounding[["task", "id"]])
    return rounding.assign(**{name: rounding[name] - control[name].loc[keys].to_numpy() for name in MEASURES})


def damage(table: pd.DataFrame, by: Sequence[str] = ("language",), value: str = "loss") -> pd.DataFrame:
    """Return the mean of a measure in each group of `by`, with a 95 % interval over meanings (`stats.mean_interval`).

    Columns: those of `by`, the measure, low, high, n (prompts), clusters.
    """
    rows = []
    for key, group in table.groupby(list(by), sort=False):
        found = stats.mean_interval(group[value], group["cluster"].to_numpy())
        rows.append((*key, found.estimate, found.low, found.high, len(group), group["cluster"].nunique()))
    return pd.DataFrame(rows, columns=[*by, value, "low", "high", "n", "clusters"])


def slope(table: pd.DataFrame, exposure: Mapping[str, float], *, value: str = "loss", seed: int = 0) -> Slope:
    """Return the least-squares slope of the languages' means over their exposures; every language has the same weight.

    Args:
        table: As `losses` or `beyond` returns it; languages without an exposure are left out.
        exposure: Language code -> what the model saw of it, such as the logarithm of its share, or 1 and 0 for seen and unseen.
        seed: Of the interval, and of the orders that are drawn where there are more than 400,000.

    Raises:
        BadInput: fewer than three languages with an exposure, or all of the same.
    """
    used = table[table["language"].isin(list(exposure))]
    means = used.groupby("language")[value].mean()
    x = np.array([float(exposure[code]) for code in means.index])
    if len(x) < 3 or np.ptp(x) == 0:
        raise BadInput(
            f"a slope needs three languages or more, of different exposures; got {len(x)} of {sorted({*x})}"
        )
    weights = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    each = dict(zip(means.index, weights, strict=True))
    share = len(used) * used["language"].map(each) / used.groupby("language")[value].transform("size")
    interval = stats.bootstrap(used[value] * share, used["cluster"].to_numpy(), seed=seed)
    orders, is_exact = _orders(weights, seed)
    found = np.abs(orders @ means.to_numpy(dtype=float))
    p_value = float(np.mean(found >= abs(interval.estimate) * (1 - _ROUNDING)))
    return Slope(interval.estimate, interval.low, interval.high, p_value, len(orders), is_exact)


def _orders(weights: np.ndarray, seed: int) -> tuple[np.ndarray, bool]:
    """Return the different orders of weights, or the given one and drawn ones, shape (orders, languages); and whether it is all."""
    levels, counts = np.unique(weights, return_counts=True)
    if factorial(len(weights)) // prod(map(factorial, counts.tolist())) <= _ALL:
        return levels[_arrangements(tuple(counts.tolist()))], True
    drawn = np.random.default_rng(seed).permuted(np.tile(weights, (_DRAWS - 1, 1)), axis=1)
    return np.vstack([weights, drawn]), False


@lru_cache(maxsize=1024)
def _arrangements(counts: tuple[int, ...]) -> np.ndarray:
    """Return all different orders of numbers of which number k occurs counts[k] times, shape (orders, numbers)."""
    if not any(counts):
        return np.empty((1, 0), dtype=np.int8)
    parts = []
    for first, count in enumerate(counts):
        if count:
            rest = _arrangements((*counts[:first], count - 1, *counts[first + 1 :]))
            parts.append(np.column_stack([np.full(len(rest), first, dtype=np.int8), rest]))
    return np.concatenate(parts)


def _scored(table: pd.DataFrame) -> pd.DataFrame:
    """Add the score of the right answer, and its number of tokens."""
    rows = list(zip(table["gold"].astype(int), table["scores"], table["tokens"], strict=True))
    return table.assign(
        right=[scores[gold] for gold, scores, _ in rows], length=[n[gold] for gold, _, n in rows]
    )
