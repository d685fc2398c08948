"""Bias, coverage, false positives and power of an estimator, measured on populations with known truth.

An estimator is any function of a `Sample` that returns what it finds: an interval, a p-value, or a decision.
"""

import os
import zlib
from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from workbench.errors import BadInput
from workbench.stats.arrays import Floats
from workbench.stats.intervals import LEVEL, wilson
from workbench.stats.organisms import Estimand, Organism, Sample, default_grid

Estimator = Callable[[Sample], Any]
Null = float | Callable[[float], bool]
_NAN = float("nan")
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Cell:
    """What an estimator does on one organism; shares are fractions, NaN where it returns nothing to judge.

    `coverage` is the share of samples whose interval contains the truth; `false_positives` that in which a true null was rejected,
    `power` that in which a false one was. `…_low` and `…_high` are 95 % Monte-Carlo intervals; `bias_error` is a standard error.
    """

    organism: str
    clusters: int
    correlation: float
    rate: float
    truth: float
    draws: int
    bias: float
    bias_error: float
    coverage: float
    coverage_low: float
    coverage_high: float
    width: float
    false_positives: float
    power: float
    rejected_low: float
    rejected_high: float


def audit(
    estimator: Estimator,
    organisms: Iterable[Organism] | None = None,
    *,
    estimand: Estimand | Callable[[Organism], float] = "difference",
    null: Null = 0.0,
    draws: int = 400,
    level: float = LEVEL,
    seed: int = 0,
    progress: bool = True,
) -> list[Cell]:
    """Try an estimator on samples of populations whose truth is known; `pandas.DataFrame` makes a table of what is returned.

    Args:
        estimator: Takes a `Sample` and returns an interval (an object with `low` and `high`, and perhaps `estimate` and
            `p_value`; or a tuple: low, high, or estimate, low, high), a p-value (a number), or a decision (True: rejected).
        organisms: The populations; `default_grid()` by default, `full_grid()` for all.
        estimand: What is estimated: the first system's "rate", the "difference" of second and first, the "spread" of wordings,
            or a function that returns the truth of an organism.
        null: The value of the estimand that a test rejects, or a function that says of a true value whether the null holds
            (for equivalence within .1: `lambda truth: abs(truth) >= 0.1`). An interval rejects a value outside it.
        draws: Samples of each organism; 400 tell 95 % from 92 %.
        level: The promised coverage; p-values reject at or below 1 - level.
        seed: Of the samples. An organism's samples do not depend on the other organisms.

    Raises:
        BadInput: no draws, or an estimator that returns something else.
    """
    if draws < 2 or not 0 < level < 1:
        raise BadInput(
            f"audit got draws={draws}, level={level}; give two draws or more and a level between 0 and 1"
        )
    chosen = default_grid() if organisms is None else tuple(organisms)
    quiet = not progress or bool(os.environ.get("WORKBENCH_BATCH"))
    return [
        _cell(
            organism,
            estimand(organism) if callable(estimand) else organism.truth(estimand),
            _answers(estimator, organism, draws, seed),
            null,
            level,
        )
        for organism in tqdm(chosen, desc="audit", unit="organism", disable=quiet)
    ]


def outside(
    cells: Iterable[Cell], *, coverage: tuple[float, float] = (0.93, 1.0), false_positives: float = 0.06
) -> list[Cell]:
    """Return the cells that break a bound by more than the Monte-Carlo error: coverage out of its range, or too many false positives."""
    low, high = coverage
    return [
        cell
        for cell in cells
        if cell.coverage_high < low
        or cell.coverage_low > high
        or (cell.rejected_low > false_positives and not np.isnan(cell.false_positives))
    ]


def _answers(estimator: Estimator, organism: Organism, draws: int, seed: int) -> Floats:
    """Return estimate, low, high and p-value of each draw, shape (draws, 4); NaN for what is not given."""
    streams = np.random.SeedSequence([seed, zlib.crc32(repr(organism).encode())]).spawn(draws)
    return np.array([_read(estimator(organism.draw(np.random.default_rng(one)))) for one in streams])


def _read(found: Any) -> tuple[float, float, float, float]:
    """Return (estimate, low, high, p-value) of what an estimator returned; a decision is the p-value 0 or 1."""
    if isinstance(found, bool | np.bool_):
        return _NAN, _NAN, _NAN, 0.0 if found else 1.0
    if isinstance(found, int | float | np.number):
        return _NAN, _NAN, _NAN, float(found)
    if isinstance(found, tuple | list | np.ndarray) and len(found) in (2, 3):
        estimate = found[0] if len(found) == 3 else _NAN
        return float(estimate), float(found[-2]), float(found[-1]), _NAN
    names = ("estimate", "low", "high", "p_value")
    if not any(hasattr(found, name) for name in names[1:]):
        raise BadInput(
            f"the estimator returned {found!r}; give an interval (low and high), a p-value or a decision"
        )
    estimate, low, high, p_value = (float(getattr(found, name, _NAN)) for name in names)
    return estimate, low, high, p_value


def _cell(organism: Organism, truth: float, answers: Floats, null: Null, level: float) -> Cell:
    draws, (estimate, low, high, _) = len(answers), answers.T
    bias, error = float(estimate.mean()) - truth, float(estimate.std(ddof=1)) / float(np.sqrt(draws))
    hits = None if np.isnan(low).all() else (low - _ROUNDING <= truth) & (truth <= high + _ROUNDING)
    rejections = _rejections(answers, null, level)
    holds = bool(null(truth)) if callable(null) else abs(truth - null) < _ROUNDING
    share, share_low, share_high = _share(rejections)
    return Cell(
        organism.label, organism.clusters, organism.correlation, organism.rate, truth, draws, bias, error,
        *_share(hits), float(np.mean(high - low)), share if holds else _NAN, _NAN if holds else share, share_low, share_high,
    )  # fmt: skip


def _rejections(answers: Floats, null: Null, level: float) -> NDArray[np.bool_] | None:
    """Return in which draws the null is rejected: by the p-value if there is one, else by the interval."""
    _, low, high, p_value = answers.T
    if not np.isnan(p_value).all():
        return np.asarray(p_value <= 1 - level + _ROUNDING)
    if callable(null) or np.isnan(low).all():
        return None
    return (null < low - _ROUNDING) | (null > high + _ROUNDING)


def _share(hits: NDArray[np.bool_] | None) -> tuple[float, float, float]:
    """Return the share of hits with its Monte-Carlo interval."""
    return (_NAN, _NAN, _NAN) if hits is None else astuple(wilson(int(hits.sum()), len(hits)))
