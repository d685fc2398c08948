"""`workbench grade` and `workbench register`: grade what students handed in; give them a receipt for a registration."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

import workbench
from workbench.atomic import make_folder, write_atomically
from workbench.cli.options import Json
from workbench.cli.printing import notice, show, show_json


def grade(
    submissions: Annotated[
        list[Path], typer.Argument(help="Notebooks, or folders of capstones, that were handed in.")
    ],
    course: Annotated[Path, typer.Option(help="The course's folder, with sources and checks.")] = Path(
        "coursework"
    ),
    seconds: Annotated[int, typer.Option(min=1, max=3600, help="Processor time for each function.")] = 20,
    feedback: Annotated[
        Path | None, typer.Option(help="Folder for a page of feedback on each notebook.")
    ] = None,
    moodle: Annotated[Path | None, typer.Option(help="CSV file for Moodle's grade import.")] = None,
    canvas: Annotated[Path | None, typer.Option(help="CSV file for Canvas's gradebook import.")] = None,
    repeat: Annotated[
        bool,
        typer.Option(
            "--repeat", help="Repeat a capstone's runs; this executes the students' notebook as you."
        ),
    ] = False,
    answers: Annotated[
        Path | None, typer.Option(help="The answer pack with which runs are repeated.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Grade notebooks and capstones: functions are called in processes apart, on fresh data, and checked by what they return.

    A single one is shown cell by cell, several with a line each.
    """
    room = workbench.grading
    read = room.read_course(course)
    folders = [path for path in submissions if os.path.isdir(path)]
    handed_in = room.read_submissions([path for path in submissions if path not in folders], read)
    if not room.is_isolated():
        notice("this system gives processes no network of their own; docs/coursework.md says what remains")
    limits = room.Limits(seconds)
    grades = [room.grade(each, read, limits) for each in handed_in]
    grades += [room.grade_capstone(path, read, limits, repeat=repeat, answers=answers) for path in folders]
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
        show(_cells(grades[0]) if len(grades) == 1 else [_line(each) for each in grades], wrapped="feedback")


def register(
    registrations: Annotated[
        list[Path], typer.Argument(help="Registrations of capstones, as registration.toml.")
    ],
    course: Annotated[Path, typer.Option(help="The course's folder, whose salt seals receipts.")] = Path(
        "coursework"
    ),
) -> None:
    """Write a sealed receipt beside each registration, with its digest and the time, for students to hand in with their results."""
    room = workbench.grading
    salt = room.read_course(course).salt
    show(
        [
            {
                "registration": str(path),
                "received": f"{found.received:%Y-%m-%d %H:%M:%S} UTC",
                "sha256": found.registration[:12],
            }
            for path in registrations
            for found in [room.receive(path, salt)]
        ]
    )


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
