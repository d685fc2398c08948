"""A course's folder: what it says of itself, and each assignment's source notebook and checks.

course.toml                       title, salt, and the assignments in order
source/NAME/NAME.ipynb            in nbgrader's format, with solutions
checks/NAME.py                    the checks (see `checks`)
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from workbench.errors import BadInput
from workbench.grading.checks import Check, Choice, Inspection, read_checks
from workbench.grading.submissions import grading_of
from workbench.runs.notebooks import Notebook, read_notebook

COURSE = "course.toml"


class _Listed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    title: str
    minutes: int


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    title: str
    salt: str
    assignment: list[_Listed]


@dataclass(frozen=True)
class GradedCell:
    """A graded cell of an assignment: its id, its points, and how it is graded (None: by the rubric)."""

    name: str
    points: float
    check: Check | Choice | Inspection | None


@dataclass(frozen=True)
class Assignment:
    """An assignment: its name, title, minutes of a student's time, source notebook, and graded cells in order."""

    name: str
    title: str
    minutes: int
    source: Notebook
    cells: tuple[GradedCell, ...]

    @property
    def points(self) -> float:
        """The points of all cells that are graded by machine."""
        return sum(cell.points for cell in self.cells if cell.check)


@dataclass(frozen=True)
class Course:
    """A course; `salt` makes the data on which functions are tried unpredictable for those who do not know it."""

    folder: Path
    title: str
    salt: str
    assignments: tuple[Assignment, ...]

    def assignment_of(self, notebook: Notebook) -> Assignment:
        """Return the assignment that a notebook was handed out for.

        Raises:
            BadInput: its metadata name none of this course.
        """
        about = notebook.metadata.get("workbench")
        name = about.get("assignment") if isinstance(about, dict) else None
        for each in self.assignments:
            if each.name == name:
                return each
        raise BadInput(
            f"{notebook.path} is no notebook of this course: its metadata name the assignment {name!r}, and there are "
            f"{', '.join(each.name for each in self.assignments)}; hand in the notebook that was handed out"
        )


def read_course(folder: Path) -> Course:
    """Read a course.

    Raises:
        BadInput: not a course's folder, or one in which notebooks and checks do not fit.
    """
    try:
        content = _File.model_validate(tomllib.loads((folder / COURSE).read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise BadInput(
            f"{folder} is not the folder of a course ({COURSE}: {reason}); name it with --course"
        ) from error
    return Course(
        folder, content.title, content.salt, tuple(_assignment(folder, each) for each in content.assignment)
    )


def source_of(folder: Path, name: str) -> Path:
    """Return the path of an assignment's source notebook."""
    return folder / "source" / name / f"{name}.ipynb"


def _assignment(folder: Path, listed: _Listed) -> Assignment:
    source = read_notebook(source_of(folder, listed.name))
    checks = {each.cell: each for each in read_checks(folder / "checks" / f"{listed.name}.py")}
    graded = [(grading_of(cell), cell["cell_type"]) for cell in source.cells if grading_of(cell).get("grade")]
    by_machine = {about["grade_id"] for about, kind in graded if kind == "code"}
    if by_machine != set(checks):
        odd = ", ".join(sorted(by_machine ^ set(checks)))
        raise BadInput(f"{listed.name}: {odd} has a graded cell or a check, but not both; add the other")
    cells = [GradedCell(a["grade_id"], float(a["points"]), checks.get(a["grade_id"])) for a, _ in graded]
    return Assignment(listed.name, listed.title, listed.minutes, source, tuple(cells))
