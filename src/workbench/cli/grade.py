"""`workbench grade`: grade notebooks that students handed in."""

from pathlib import Path
from typing import Annotated, Any

import typer

import workbench
from workbench.atomic import make_folder, write_atomically
from workbench.cli.options import Json
from workbench.cli.printing import notice, show, show_json


def grade(
    submissions: Annotated[list[Path], typer.Argument(help="Notebooks that were handed in.")],
    course: Annotated[Path, typer.Option(help="The course's folder, with sources and checks.")] = Path(
        "coursework"
    ),
    seconds: Annotated[int, typer.Option(min=1, max=3600, help="Processor time for each function.")] = 20,
    feedback: Annotated[
        Path | None, typer.Option(help="Folder for a page of feedback on each notebook.")
    ] = None,
    moodle: Annotated[Path | None, typer.Option(help="CSV file for Moodle's grade import.")] = None,
    canvas: Annotated[Path | None, typer.Option(help="CSV file for Canvas's gradebook import.")] = None,
    as_json: Json = False,
) -> None:
    """Grade notebooks: their functions are called in processes apart, on fresh data, and checked by what they return.

    One notebook is shown cell by cell, several with a line each.
    """
    room = workbench.grading
    read = room.read_course(course)
    handed_in = room.read_submissions(submissions, read)
    if not room.is_isolated():
        notice("this system gives processes no network of their own; docs/coursework.md says what remains")
    grades = [room.grade(each, read, room.Limits(seconds)) for each in handed_in]
    for path, text in ((moodle, room.as_moodle), (canvas, room.as_canvas)):
        if path is not None:
            make_folder(path.absolute().parent)
            write_atomically(path, text(grades))
    if feedback is not None:
        make_folder(feedback)
        for each in grades:
            name = f"{each.student}_{each.assignment.name}.md"
            write_atomically(feedback / name, room.feedback_of(each))
    if as_json:
        show_json([_as_dict(each) for each in grades])
    else:
        show(_cells(grades[0]) if len(grades) == 1 else [_line(each) for each in grades])


def _line(grade: Any) -> dict[str, Any]:
    about = {"student": grade.student, "assignment": grade.assignment.name}
    return about | {
        "points": f"{grade.points:g}",
        "of": f"{grade.assignment.points:g}",
        "to read": f"{grade.by_rubric:g}",
    }


def _cells(grade: Any) -> list[dict[str, Any]]:
    rows = [
        {"cell": each.cell, "points": "?" if each.points is None else f"{each.points:g}", "of": f"{each.of:g}", "feedback": each.feedback}
        for each in grade.cells
    ]  # fmt: skip
    total = {"cell": grade.student, "points": f"{grade.points:g}", "of": f"{grade.assignment.points:g}"}
    return [*rows, total | {"feedback": f"and {grade.by_rubric:g} by the rubric" if grade.by_rubric else ""}]


def _as_dict(grade: Any) -> dict[str, Any]:
    about = {"path": str(grade.path), "student": grade.student, "assignment": grade.assignment.name}
    totals = {"points": grade.points, "of": grade.assignment.points, "by_rubric": grade.by_rubric}
    return about | totals | {"cells": [vars(each) for each in grade.cells]}
