"""Grade a capstone, a registered replication by a pair of students: what a machine can see of its folder.

A run's manifest is not sealed: who forges `run.json` can claim another time. What protects is that the answer pack is handed out after
the receipts, that numbers are compared with metrics, metrics with digests, and the whole with a repetition.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workbench.errors import WorkbenchError
from workbench.grading.checks import Inspection
from workbench.grading.courses import Assignment, Course, GradedCell
from workbench.grading.estimators import COVERED, FOUND, LARGE
from workbench.grading.grading import BY_RUBRIC, CellGrade, Grade
from workbench.grading.handed_in import NOTEBOOK, HandedIn, StageRun, filled
from workbench.grading.registration import REGISTRATION, Stage, digest_of, is_genuine
from workbench.grading.sandbox import Limits
from workbench.runs.expected import expectation
from workbench.runs.notebooks import read_notebook
from workbench.runs.verifying import Case, verify

NAME = "capstone"
CONFIRMING: tuple[Stage, ...] = ("replication", "pack")
LEAST = {"replication": 3, "pack": 1}  # contrasts


def grade_capstone(
    folder: Path,
    course: Course,
    limits: Limits | None = None,
    *,
    repeat: bool = False,
    answers: Path | None = None,
) -> Grade:
    """Grade the folder of a pair; the same folder gets the same grade again.

    Args:
        repeat: Also repeat the runs, which executes the pair's notebook as you: do so where it can harm nothing.
        answers: The folder of the answer pack, for repeating.

    Raises:
        BadInput: the folder has no registration that says whose it is, or the course has no capstone.
    """
    template = read_notebook(course.folder / NAME / NOTEBOOK)
    one = HandedIn(folder, template, course.salt, limits or Limits(), repeat, answers)
    cells = tuple(GradedCell(each.cell, each.points, each) for each in INSPECTIONS)
    assignment = Assignment(NAME, "Capstone", 0, template, (*cells, GradedCell("report", 10, None)))
    whose = one.registration.pair
    graded = [inspected(one, each) for each in INSPECTIONS]
    return Grade(folder, whose, assignment, (*graded, _report(one)))


def inspected(one: HandedIn, what: Inspection) -> CellGrade:
    """Return the points of one inspection, and why it failed."""
    if what is REPEATED and not one.repeat:
        return CellGrade(what.cell, None, what.points, "To be repeated, where running the pair's code can harm nothing: --repeat.")  # fmt: skip
    try:
        failure = what.inspect(one)
    except WorkbenchError as error:
        failure = str(error)
    return CellGrade(what.cell, 0 if failure else what.points, what.points, failure or "Right.")


def _registered(one: HandedIn) -> str:
    for stage in CONFIRMING:
        if len(one.registration.on(stage)) < LEAST[stage]:
            return (
                f"{len(one.registration.on(stage))} contrasts on {stage}; register at least {LEAST[stage]}."
            )
    return ""


def _received(one: HandedIn) -> str:
    if not is_genuine(one.receipt, one.salt):
        return "The receipt was not made by your instructor, or was changed."
    if one.receipt.registration != digest_of(one.folder / REGISTRATION):
        return "The registration is not the one that the receipt is for: it was changed afterwards."
    return ""


def _before_results(one: HandedIn) -> str:
    if failure := _received(one):
        return failure
    for stage in CONFIRMING:
        run = one.run_of(stage)
        if run.written.started < one.receipt.received:
            return f"The run of the stage {stage} began before the registration was received."
        if run.written.reads.get(REGISTRATION) != one.receipt.registration:
            return f"The run of the stage {stage} read another registration than the one that was received."
    return ""


def _complete(one: HandedIn) -> str:
    for stage in CONFIRMING:
        run = one.run_of(stage)
        if run.damaged:
            return f"The run of the stage {stage} is not as it was written: {', '.join(run.damaged[:3])}."
        if read_notebook(run.folder / "notebook.ipynb").digest != one.notebook.digest:
            return f"The run of the stage {stage} is of another notebook than {NOTEBOOK}: run it again."
    return ""


def _all_reported(one: HandedIn) -> str:
    for stage in CONFIRMING:
        found = one.run_of(stage).metrics
        for each in one.registration.on(stage):
            low, high, confirmed = (found.get(f"{each.name}{end}") for end in ("_low", "_high", "_confirmed"))
            if not isinstance(low, float) or not isinstance(high, float) or each.name not in found:
                return f"The run of the stage {stage} does not report {each.name}, which was registered, with its interval."
            if confirmed is not each.confirmed(low, high):
                return f"Whether {each.name} was confirmed does not follow from its interval and what was registered."
    return ""


def _numbers_resolve(one: HandedIn) -> str:
    _, wrong = filled(one.report, _Metrics(one).value)
    if wrong:
        return f"In the report {'; '.join(wrong[:5])}{' …' if len(wrong) > 5 else ''}."
    missing = [each.name for stage in CONFIRMING for each in one.registration.on(stage) if f"{stage}.{each.name}" not in one.report]  # fmt: skip
    return f"The report does not mention what came out for {', '.join(missing)}." if missing else ""


class _Metrics:
    """The metrics by stage, each run read once."""

    def __init__(self, one: HandedIn) -> None:
        self._one = one
        self._runs: dict[str, StageRun] = {}

    def value(self, stage: str, name: str) -> Any:
        """Return a metric.

        Raises:
            KeyError: there is no such stage or metric.
        """
        if stage not in (*CONFIRMING, "exploration"):
            raise KeyError(stage)
        if stage not in self._runs:
            self._runs[stage] = self._one.run_of(stage)
        return self._runs[stage].metrics[name]


def _covers(one: HandedIn) -> str:
    cells = one.audited
    short = [each for each in cells if each.coverage_high < COVERED]
    if short:
        return f"Of its 95 % intervals {min(each.coverage for each in short):.0%} contain the truth in a population whose outcomes hang together in some way."
    return ""


def _finds(one: HandedIn) -> str:
    [large] = [each for each in one.audited if each.organism == LARGE]
    if large.power < FOUND or large.coverage_high < COVERED:
        return f"A difference of {large.truth:.0%} was rightly found in too few of the samples: is the interval far wider than it must be?"
    return ""


def _repeats(one: HandedIn) -> str:
    cases = [
        Case(stage, one.folder / NOTEBOOK, expectation(one.run_of(stage).folder)) for stage in CONFIRMING
    ]
    for verdict in verify(cases, answers=one.answers):
        if not verdict.is_as_expected:
            first = next((f": {each.what}, {each.expected} then and {each.got} now" for each in verdict.differences), "")  # fmt: skip
            return f"Repeated, the stage {verdict.case} gives something else{first or f': {verdict.ending.message}'}."
    return ""


def _report(one: HandedIn) -> CellGrade:
    try:
        text, _ = filled(one.report, _Metrics(one).value)
    except WorkbenchError as error:
        return CellGrade("report", 0, 10, str(error))
    return CellGrade("report", None, 10, BY_RUBRIC, text)


REPEATED = Inspection("repeats", 3, _repeats)
INSPECTIONS: Sequence[Inspection] = (
    Inspection("registration", 2, _registered),
    Inspection("receipt", 3, _received),
    Inspection("before-results", 4, _before_results),
    Inspection("manifest", 3, _complete),
    Inspection("all-reported", 3, _all_reported),
    Inspection("numbers", 4, _numbers_resolve),
    Inspection("coverage", 6, _covers),
    Inspection("power", 2, _finds),
    REPEATED,
)
