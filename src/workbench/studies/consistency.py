"""Does a model choose alike in two languages: agreement on parallel items, beyond what its habits alone would give.

Two languages agree on some items by accident: if a model prefers one option everywhere, or is right almost everywhere. So each
agreement stands beside the one expected of items that do not belong together. With two choices RankC is the share of equal choices on
another scale (.27 + .73 · share) and says nothing more; it is made for longer lists of candidates.
"""

from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import t

from workbench.errors import BadInput
from workbench.stats.intervals import UPPER

_Floats = NDArray[np.float64]


def rank_consistency(first: _Floats, second: _Floats) -> _Floats:
    """Return RankC of each item: the overlap of the two lists of the j best choices, a weighted mean over j.

    Args:
        first: Scores, shape (items, choices). second: The same choices in the same order, asked in another language.

    Returns:
        Shape (items,), between 0 and 1; weights are the softmax of choices, choices - 1, …, 1 (the best counts most).

    Raises:
        BadInput: tables of different shapes, or fewer than two choices.

    Source: Qi et al. 2023, arXiv:2310.10378.
    """
    one, two = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if one.shape != two.shape or one.ndim != 2 or one.shape[1] < 2:
        raise BadInput(
            f"RankC got scores of shape {one.shape} and {two.shape}; give items x choices, the same in both"
        )
    return _overlaps(_places(one), _places(two))


def consistency(ranked: pd.DataFrame, pivot: str | None = None) -> pd.DataFrame:
    """Compare the choices of one model in every pair of languages, on the items that both have.

    Args:
        ranked: A table of `workbench.inference.ranking.rank`; an item's partner has the same task, template and cluster, and the same
            choices in the same order, in another language.
        pivot: Compare every language with this one only.

    Returns:
        One row per pair. Columns: first, second, items, meanings; agreement (share of items with the same choice) and expected
        (of items with the same number of choices that do not belong together); kappa (agreement beyond the expected, 1: always),
        low and high (95 %, jackknife over meanings); rankc and rankc_beyond (likewise corrected); both_right (share); right_kappa
        (agreement in being right, beyond what the two accuracies give if errors are independent). A kappa is missing if all choices
        are expected to agree.

    Raises:
        BadInput: fewer than two languages, no pivot among them, or an item asked twice.
    """
    keys = ["task", "template", "cluster"]
    if ranked.duplicated([*keys, "language"]).any():
        raise BadInput("some items are asked twice in one language; give the answers of one model")
    languages = list(dict.fromkeys(ranked["language"]))
    if len(languages) < 2 or (pivot is not None and pivot not in languages):
        raise BadInput(f"consistency needs two languages or more, with the pivot {pivot!r}; got {languages}")
    rows = []
    for first, second in combinations(languages, 2):
        if pivot in (None, first, second):
            one, two = (ranked[ranked["language"] == code].set_index(keys) for code in (first, second))
            both = one.join(two, how="inner", lsuffix="_1", rsuffix="_2").reset_index()
            _expect_same_order(both, first, second)
            rows.append({"first": first, "second": second, **_measured(both)})
    return pd.DataFrame(rows)


def _measured(both: pd.DataFrame) -> dict[str, float]:
    sizes = both["choices_1"].map(len).to_numpy()
    meanings = pd.factorize(both["cluster"])[0]
    pairs = [np.flatnonzero(sizes == size) for size in np.unique(sizes)]
    scores = [
        [np.array(both[f"scores_{side}"].iloc[rows].to_list(), dtype=float) for side in (1, 2)]
        for rows in pairs
    ]
    found = [rank_consistency(*one) for one in scores]
    strangers = [_strangers(*one) for one in scores]
    rankc = float(np.concatenate(found).mean())
    by_chance = float(np.average(strangers, weights=[len(rows) for rows in pairs]))
    every = np.ones((1, len(both)))
    first, second = (both[f"prediction_{side}"].to_numpy(dtype=float) for side in (1, 2))
    right, too = (both[f"correct_{side}"].to_numpy(dtype=float) for side in (1, 2))
    agreement, expected, kappa = (float(one[0]) for one in _kappa(first, second, sizes, every))
    without = (meanings[None, :] != np.unique(meanings)[:, None]).astype(float)
    low, high = _jackknife(_kappa(first, second, sizes, without)[2], kappa)
    return {
        "items": len(both),
        "meanings": len(without),
        **{"agreement": agreement, "expected": expected, "kappa": kappa, "low": low, "high": high},
        "rankc": rankc,
        "rankc_beyond": (rankc - by_chance) / (1 - by_chance) if by_chance < 1 else np.nan,
        "both_right": float((right * too).mean()),
        "right_kappa": float(_kappa(right, too, np.full(len(both), 2), every)[2][0]),
    }


def _kappa(
    first: _Floats, second: _Floats, sizes: NDArray[np.integer], weights: _Floats
) -> tuple[_Floats, _Floats, _Floats]:
    """Return agreement, agreement expected from the marginals among items with as many choices, and Cohen's kappa.

    Each has shape (W,), one value for each row of `weights`, shape (W, items).
    """
    total = weights.sum(axis=1)
    agreement, expected = weights @ (first == second) / total, np.zeros(len(weights))
    for size in np.unique(sizes):
        own = weights * (sizes == size)
        choices = np.union1d(first, second)[:, None]
        together = np.sum((own @ (first == choices).T) * (own @ (second == choices).T), axis=1)
        expected += together / np.maximum(own.sum(axis=1), 1e-12) / total
    with np.errstate(divide="ignore", invalid="ignore"):
        kappa = np.where(expected < 1 - 1e-12, (agreement - expected) / (1 - expected), np.nan)
    return agreement, expected, kappa


def _jackknife(kappas: _Floats, whole: float) -> tuple[float, float]:
    """Return a 95 % interval from the values without one meaning each; missing with fewer than three."""
    count = len(kappas)
    if count < 3 or np.isnan(kappas).any() or np.isnan(whole):
        return np.nan, np.nan
    half = float(t.ppf(UPPER, count - 1)) * float(np.sqrt((count - 1) * kappas.var()))
    return max(-1.0, whole - half), min(1.0, whole + half)


def _places(scores: _Floats) -> NDArray[np.integer]:
    """Return each choice's place, 0 for the best; ties in the order of the choices."""
    return np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1, kind="stable")


def _overlaps(first: NDArray[np.integer], second: NDArray[np.integer]) -> _Floats:
    choices = first.shape[-1]
    weights = np.exp(np.arange(choices, 0, -1.0) - choices)
    depth = np.maximum(first, second)[..., None] < np.arange(1, choices + 1)  # in both lists of the j best
    return np.asarray((depth.sum(axis=-2) / np.arange(1, choices + 1)) @ (weights / weights.sum()))


def _strangers(first: _Floats, second: _Floats) -> float:
    """Return the mean RankC of an item in one language and all others in the other."""
    one, two = _places(first), _places(second)
    if len(one) < 2:
        return 0.0
    values = [_overlaps(np.broadcast_to(line, two.shape), two).sum() for line in one]
    return float((np.sum(values) - _overlaps(one, two).sum()) / (len(one) * (len(one) - 1)))


def _expect_same_order(both: pd.DataFrame, first: str, second: str) -> None:
    if both.empty:
        raise BadInput(f"{first} and {second} share no items; rank parallel items in all languages")
    sizes = both["choices_1"].map(len) != both["choices_2"].map(len)
    if sizes.any() or (both["gold_1"] != both["gold_2"]).any():
        raise BadInput(
            f"the choices of an item differ in number or order between {first} and {second}; give parallel items"
        )
