"""Findings: emergent properties of the family, reported with intervals and never gated."""

from collections.abc import Iterator

import pandas as pd

from miniatures.check.answers import NO_MARK
from miniatures.check.contrasts import Cell, answers, interval, per_meaning, ratio
from miniatures.check.sides import SIDES, Side
from miniatures.examples import FINETUNED
from miniatures.questions import HELD_OUT, RANKED
from miniatures.world import PIVOT
from workbench.stats import Interval

COLUMNS = ("finding", "side", "member", "of", "unit", "value", "low", "high")
TRANSFER = "English-only finetuning, gain over the base minus the baseline's"
P3_AND_XP3 = "xP3 - P3, languages in neither"
HELD_OUT_TASKS = "tasks in no mixture"
STOP_MARK = "last mark of the prompt dropped"

Found = tuple[str, str, str, str, str, float, float, float]


def findings(predicted: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Report what a table of `predictions` shows, with 95 % intervals over meanings.

    Columns: finding, side, member, of (a language or a task), unit ("points": percentage points of accuracy; "ratio"),
    value, low, high. All are for seen wordings.

    - *Transfer*: the P3 member minus its base in a language, minus the above-chance accuracy there of an n-gram model fitted
      on English; as a ratio to the same in English only where that interval excludes 0.
    - *P3 and xP3*: the xP3 member minus the P3 member, in the languages that neither has seen in finetuning.
    - *Tasks in no mixture*: a finetuned member minus its base, and minus chance, in its finetuned languages.
    - *Stop mark*: the same prompts without and with their last mark.

    Raises:
        BadInput: the table lacks a member or a kind of item.
    """
    rows = [
        found
        for side in SIDES
        for one in (_transfer, _mixtures, _held_out, _stop_mark)
        for found in one(predicted, side, seed)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def by_task(predicted: pd.DataFrame) -> pd.DataFrame:
    """Return the chance-corrected accuracy (0: chance, 1: all right) of each member on seen wordings, by task.

    Rows: where ("in xP3" or "left out" of it) and the tasks of the mixtures; columns: members and baselines.
    """
    languages = {
        "in xP3": FINETUNED,
        "left out": [one for one in _languages(predicted) if one not in FINETUNED],
    }
    found = {
        (where, task, member): answers(predicted, Cell(member, tuple(codes), tasks=(task,)))["above"].mean()
        for where, codes in languages.items()
        for task in RANKED
        for member in dict.fromkeys(predicted["member"])
    }
    table = pd.Series(found).unstack(sort=False)
    return table.rename_axis(index=["where", "task"], columns="member")


def _points(finding: str, side: Side, member: str, of: str, found: Interval) -> Found:
    value, low, high = (100 * one for one in (found.estimate, found.low, found.high))
    return finding, side.name, member, of, "points", value, low, high


def _languages(predicted: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(predicted["language"]))


def _over_chance(predicted: pd.DataFrame, cell: Cell) -> pd.Series:
    rows = answers(predicted, cell)
    return (rows["correct"] - rows["chance"]).groupby(rows["cluster"]).mean()


def _transfer(predicted: pd.DataFrame, side: Side, seed: int) -> Iterator[Found]:
    gains = {}
    for language in _languages(predicted):
        terms = [(1, Cell(side.p3, (language,))), (-1, Cell(side.base, (language,)))]
        baseline = _over_chance(predicted, Cell("n-grams-en", (language,)))
        gains[language] = per_meaning(predicted, terms) - baseline
        yield _points(TRANSFER, side, side.p3, language, interval(gains[language], seed))
    english = interval(gains[PIVOT], seed)
    if english.low > 0 or english.high < 0:
        for language in [one for one in gains if one != PIVOT]:
            found = ratio(gains[language], gains[PIVOT], seed)
            yield (TRANSFER, side.name, side.p3, language, "ratio", found.estimate, found.low, found.high)


def _mixtures(predicted: pd.DataFrame, side: Side, seed: int) -> Iterator[Found]:
    neither = tuple(one for one in _languages(predicted) if one not in FINETUNED)
    for group in [(one,) for one in neither] + [neither]:
        terms = [(1, Cell(side.xp3, group)), (-1, Cell(side.p3, group))]
        of = group[0] if len(group) == 1 else "all"
        yield _points(P3_AND_XP3, side, side.xp3, of, interval(per_meaning(predicted, terms), seed))


def _held_out(predicted: pd.DataFrame, side: Side, seed: int) -> Iterator[Found]:
    for member, own in side.finetuned().items():
        for task in HELD_OUT:
            cell, base = Cell(member, own, tasks=(task,)), Cell(side.base, own, tasks=(task,))
            gain = per_meaning(predicted, [(1, cell), (-1, base)])
            yield _points(f"{HELD_OUT_TASKS}, minus base", side, member, task, interval(gain, seed))
            above = interval(_over_chance(predicted, cell), seed)
            yield _points(f"{HELD_OUT_TASKS}, minus chance", side, member, task, above)


def _stop_mark(predicted: pd.DataFrame, side: Side, seed: int) -> Iterator[Found]:
    item = ["task", "language", "cluster", "template"]
    for member, own in [(side.base, FINETUNED), *side.finetuned().items()]:
        bare, whole = (answers(predicted, Cell(member, own, kind)) for kind in (NO_MARK, "seen"))
        both = bare.merge(whole, on=item, suffixes=("_bare", "_whole"))
        lost = (both["correct_bare"] - both["correct_whole"]).groupby(both["cluster"]).mean()
        yield _points(STOP_MARK, side, member, "all", interval(lost, seed))
        for task in RANKED:
            part = lost[lost.index.str.rsplit("-", n=1).str[0] == task]
            if len(part) > 1:
                yield _points(STOP_MARK, side, member, task, interval(part, seed))
