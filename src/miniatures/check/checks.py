"""Checks a to d: tasks learned, unseen families understood, native prompts, the known order of transfer.

A share that must be reached is judged by its estimate, since its bound is a convention; a difference that must have
a sign is judged by its 95 % interval. `needs` states which: the *estimate* is on the right side of the bound, the
*interval* is entirely there (strict), or it is *not contradicted*: the interval is not entirely on the wrong side, so that
lack of evidence passes too. Rows whose `holds` is missing are informative only.
"""

from collections.abc import Iterator
from dataclasses import astuple, dataclass

import pandas as pd

from miniatures.check.answers import BASELINES
from miniatures.check.contrasts import Cell, interval, per_meaning, ratio
from miniatures.check.sides import SIDES, Side
from miniatures.examples import FINETUNED
from miniatures.questions import RANKED
from workbench.stats import Interval

COLUMNS = ("check", "side", "what", "value", "low", "high", "needs", "bound", "holds")
ESTIMATE, INTERVAL, NOT_CONTRADICTED = "estimate", "interval", "not contradicted"
LEARNED = 0.90
# Bound on a base's chance-corrected accuracy. A member right on 0.90 of two-way choices has 0.80, so that at least
# three quarters of its ability came with finetuning.
BASE_AT_MOST = 0.20
UNSEEN_FAMILIES = 0.80


@dataclass(frozen=True)
class Row:
    """One condition: the measurement with its 95 % interval, the requirement, and whether it is met.

    Informative rows need nothing (""), have no bound, and `holds` is None.
    """

    check: str
    side: str
    what: str
    value: float
    low: float
    high: float
    needs: str = ""
    bound: float | None = None
    holds: bool | None = None


def row(
    check: str, side: str, what: str, found: Interval, gate: tuple[str, float, bool] | None = None
) -> Row:
    """Make a row; `gate` is what must lie beyond the bound, the bound, and whether the condition holds."""
    needs, bound, holds = gate or ("", None, None)
    return Row(check, side, what, found.estimate, found.low, found.high, needs, bound, holds)


def as_table(rows: Iterator[Row]) -> pd.DataFrame:
    """Put rows into a table with the columns `COLUMNS`; `holds` is true, false or missing."""
    table = pd.DataFrame([astuple(one) for one in rows], columns=list(COLUMNS))
    return table.astype({"bound": "Float64", "holds": "boolean"})


def judge(predicted: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Judge checks a to d on a table of `predictions`: one row per condition, columns `COLUMNS`.

    Raises:
        BadInput: the table lacks a member or a kind of item.
    """
    checks = (_learned, _families, _native, _order)
    return as_table(found for side in SIDES for one in checks for found in one(predicted, side, seed))


def failed(checks: pd.DataFrame) -> pd.DataFrame:
    """Return the rows whose condition does not hold."""
    return checks[checks["holds"].eq(False).fillna(False)]


def compare(first: pd.DataFrame, second: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Judge two tables of `predictions`, as of two training seeds, by the same checks.

    Columns: check, side, what, needs, bound, then value, low, high, holds of each, with the suffixes `_first` and `_second`.
    """
    one, two = (judge(table, seed) for table in (first, second))
    both = one.merge(
        two.drop(columns=["needs", "bound"]), on=["check", "side", "what"], suffixes=("_first", "_second")
    )
    return both[
        [
            "check",
            "side",
            "what",
            "needs",
            "bound",
            *both.columns[both.columns.str.endswith(("_first", "_second"))],
        ]
    ]


def _learned(predicted: pd.DataFrame, side: Side, seed: int) -> Iterator[Row]:
    """Check a."""
    for member, languages in side.finetuned().items():
        found = _accuracy(predicted, Cell(member, languages), seed)
        reached = found.estimate >= LEARNED
        yield row("a", side.name, f"{member}: accuracy, at least", found, (ESTIMATE, LEARNED, reached))
        best = max(
            (_accuracy(predicted, Cell(name, languages), seed) for name in BASELINES),
            key=lambda one: one.estimate,
        )
        what = f"best baseline where {member} is asked, its interval below"
        yield row("a", side.name, what, best, (INTERVAL, found.low, best.high < found.low))
        for task in RANKED:
            found = _accuracy(predicted, Cell(member, languages, tasks=(task,)), seed)
            yield row("a", side.name, f"{member}: accuracy, {task}", found)
    base = interval(per_meaning(predicted, [(1, Cell(side.base, FINETUNED))], "above"), seed)
    near = max(-base.low, base.high) < BASE_AT_MOST
    what = f"{side.base}: share of what chance leaves, within ±"
    yield row("a", side.name, what, base, (INTERVAL, BASE_AT_MOST, near))


def _accuracy(predicted: pd.DataFrame, cell: Cell, seed: int) -> Interval:
    return interval(per_meaning(predicted, [(1, cell)]), seed)


def _families(predicted: pd.DataFrame, side: Side, seed: int) -> Iterator[Row]:
    """Check b; the share is undefined where the seen wordings are not clearly above chance."""
    for member, languages in side.finetuned().items():
        seen = per_meaning(predicted, [(1, Cell(member, languages))], "above")
        unseen = per_meaning(predicted, [(1, Cell(member, languages, "held_out"))], "above")
        found = ratio(unseen, seen, seed)
        holds = found.estimate >= UNSEEN_FAMILIES and interval(seen, seed).low > 0
        what = f"{member}: held-out families / seen wordings, at least"
        yield row("b", side.name, what, found, (ESTIMATE, UNSEEN_FAMILIES, holds))


def _native(predicted: pd.DataFrame, side: Side, seed: int) -> Iterator[Row]:
    """Check c."""
    gain = {
        kind: [(1, Cell(side.xp3mt, FINETUNED[1:], kind)), (-1, Cell(side.xp3, FINETUNED[1:], kind))]
        for kind in ("native", "seen")
    }
    for kind, terms in gain.items():
        yield row(
            "c", side.name, f"xP3mt - xP3, {kind} wordings", interval(per_meaning(predicted, terms), seed)
        )
    found = interval(per_meaning(predicted, gain["native"]) - per_meaning(predicted, gain["seen"]), seed)
    yield row("c", side.name, "xP3mt - xP3, native minus seen, above", found, (INTERVAL, 0.0, found.low > 0))


def _order(predicted: pd.DataFrame, side: Side, seed: int) -> Iterator[Row]:
    """Check d: no pair clearly reversed; pooled over pairs, clearly in order on the BLOOM side, not reversed on the other."""
    pairs = {
        "shared words": [("x-en30", "x-en00"), ("x-en30r", "x-en00r")],
        "same order": [("x-en30", "x-en30r"), ("x-en00", "x-en00r")],
    }
    for reason, compared in pairs.items():
        for one, other in compared:
            terms = [(1, Cell(side.p3, (one,))), (-1, Cell(side.p3, (other,)))]
            found = interval(per_meaning(predicted, terms), seed)
            what = f"{reason}: {one} - {other}, not below"
            yield row("d", side.name, what, found, (NOT_CONTRADICTED, 0.0, found.high >= 0))
        firsts, seconds = zip(*compared, strict=True)
        found = interval(
            per_meaning(predicted, [(1, Cell(side.p3, firsts)), (-1, Cell(side.p3, seconds))]), seed
        )
        if side.name == "bloom":
            yield row("d", side.name, f"{reason}, above", found, (INTERVAL, 0.0, found.low > 0))
        else:
            what = f"{reason}, not below"
            yield row("d", side.name, what, found, (NOT_CONTRADICTED, 0.0, found.high >= 0))
