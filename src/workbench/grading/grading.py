"""Grade a notebook: each function is called in a process of its own on fresh data, and checked here by what it returned."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from workbench.errors import BadInput
from workbench.grading.checks import Calls, Check, Choice
from workbench.grading.courses import Assignment, Course, GradedCell
from workbench.grading.sandbox import NOT_ANSWERED, Limits, Returned, call_apart
from workbench.grading.submissions import NO_ANSWER, Submission, student_of, syntax_error
from workbench.runs.notebooks import read_notebook

BY_RUBRIC = "To be read with the rubric."
_RIGHT = "Right."
_OTHER_KIND = "What it returned is not of the kind that the text asks for."
_ILL_FORMED = (
    TypeError,
    ValueError,
    LookupError,
    AttributeError,
    OverflowError,
    ArithmeticError,
    RecursionError,
)


@dataclass(frozen=True)
class CellGrade:
    """The points of a graded cell (None: to be given by the rubric), out of how many, and a sentence; or the paragraph to be read."""

    cell: str
    points: float | None
    of: float
    feedback: str
    paragraph: str = ""


@dataclass(frozen=True)
class Grade:
    """The grade of a notebook, cell by cell."""

    path: Path
    student: str
    assignment: Assignment
    cells: tuple[CellGrade, ...]

    @property
    def points(self) -> float:
        """The points given by machine."""
        return sum(cell.points or 0 for cell in self.cells)

    @property
    def by_rubric(self) -> float:
        """The points that remain to be given by the rubric."""
        return sum(cell.of for cell in self.cells if cell.points is None)


def read_submissions(paths: Sequence[Path], course: Course) -> list[Submission]:
    """Read notebooks that were handed in.

    Raises:
        BadInput: not a notebook of this course, nobody's, or two by one student for one assignment.
    """
    found: dict[tuple[str, str], Submission] = {}
    for path in paths:
        each = read_submission(path, course)
        key = (each.student, course.assignment_of(each.notebook).name)
        if key in found:
            raise BadInput(
                f"{found[key].notebook.path} and {path} are both by {key[0]!r} for {key[1]}; give one of them"
            )
        found[key] = each
    return list(found.values())


def read_submission(path: Path, course: Course, *, student: str = "") -> Submission:
    """Read a notebook that was handed in.

    Args:
        student: Whose it is, if the notebook does not say.

    Raises:
        BadInput: not a notebook of this course, or nobody's.
    """
    notebook = read_notebook(path)
    source = course.assignment_of(notebook).source
    whose = student_of(notebook) or student
    if not whose:
        raise BadInput(
            f"{path}: the parameter student is empty; write in its first code cell whose notebook it is"
        )
    return Submission(notebook, source, whose)


def grade(submission: Submission, course: Course, limits: Limits | None = None) -> Grade:
    """Grade a notebook; the same notebook gets the same grade again."""
    assignment = course.assignment_of(submission.notebook)
    draws = _Draws(course.salt, submission.student)
    found = {each.cell: each for each in _graded(submission, assignment, draws, limits or Limits())}
    cells = tuple(found[cell.name] for cell in assignment.cells)
    return Grade(submission.notebook.path, submission.student, assignment, cells)


@dataclass(frozen=True)
class _Draws:
    """Random generators by cell, from a hash of the salt and the student's id."""

    salt: str
    student: str

    def of(self, cell: str) -> np.random.Generator:
        digest = sha256("\n".join((self.salt, self.student, cell)).encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:16]))


def _graded(
    submission: Submission, assignment: Assignment, draws: _Draws, limits: Limits
) -> Iterator[CellGrade]:
    checked = [cell for cell in assignment.cells if isinstance(cell.check, Check)]
    for cell in assignment.cells:
        if isinstance(cell.check, Choice):
            yield _by_choice(submission, cell, cell.check)
        elif cell.check is None:
            yield _by_rubric(cell, submission.paragraph(cell.name))
    for function, cells in groupby(sorted(checked, key=_function), _function):
        yield from _by_calls(submission, function, list(cells), draws, limits)


def _function(cell: GradedCell) -> str:
    return cell.check.function if isinstance(cell.check, Check) else ""


def _by_rubric(cell: GradedCell, paragraph: str) -> CellGrade:
    if paragraph.strip() in ("", NO_ANSWER):
        return CellGrade(cell.name, 0, cell.points, NOT_ANSWERED)
    return CellGrade(cell.name, None, cell.points, BY_RUBRIC, paragraph)


def _by_choice(submission: Submission, cell: GradedCell, choice: Choice) -> CellGrade:
    given = submission.constant(choice.variable)
    if given is None:
        sentence = f'No line `{choice.variable} = "..."` was found; write the text itself.'
        return CellGrade(cell.name, 0, cell.points, sentence)
    if given not in choice.options:
        options = ", ".join(map(repr, choice.options))
        return CellGrade(cell.name, 0, cell.points, f"{choice.variable} is none of {options}.")
    right = choice.right in (None, given)
    return CellGrade(cell.name, cell.points * right, cell.points, _RIGHT if right else choice.feedback)


def _by_calls(
    submission: Submission, function: str, cells: list[GradedCell], draws: _Draws, limits: Limits
) -> Iterator[CellGrade]:
    """Yield the grade of each cell that checks a function; all their calls are made in one process."""
    code = submission.definition_of(function)
    if code is None:
        reason = syntax_error([cell["source"] for cell in submission.notebook.code])
        sentence = f"There is no function {function}{': ' if reason else ''}{reason}."
        yield from (CellGrade(cell.name, 0, cell.points, sentence) for cell in cells)
        return
    probes = [cell.check.probe(draws.of(cell.name)) for cell in cells if isinstance(cell.check, Check)]
    calls = [list(next(probe)) for probe in probes]
    returned = iter(call_apart(code, function, [one for each in calls for one in each], limits))
    for cell, probe, own in zip(cells, probes, calls, strict=True):
        failure = _failure(cell, probe, [next(returned) for _ in own])
        yield CellGrade(cell.name, 0 if failure else cell.points, cell.points, failure or _RIGHT)


def _failure(cell: GradedCell, probe: Generator[Calls, list[Any], bool], returned: list[Returned]) -> str:
    """Return why a check does not hold, or an empty text."""
    for each in returned:
        if each.failure:
            return each.failure
    try:
        probe.send([each.value for each in returned])
    except StopIteration as end:
        assert isinstance(cell.check, Check)
        return "" if end.value else cell.check.feedback
    except _ILL_FORMED:
        return _OTHER_KIND
    raise AssertionError(f"the check of {cell.name} asks for calls twice; it may ask once")
