"""Grades as files: gradebook imports of Moodle and Canvas, and a page of feedback for each notebook."""

import csv
import io
from collections.abc import Iterable, Sequence

from workbench.grading.grading import CellGrade, Grade

_CANVAS = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section"]


def as_moodle(grades: Sequence[Grade]) -> str:
    """Return CSV for Moodle's grade import: a row per student, points and feedback of each assignment.

    Map "ID number" to the user, and each other column to the grade item or its feedback. Points are those given by machine.
    """
    titles, rows = _table(grades)
    header = ["ID number", *(each for title in titles for each in (title, f"{title} (feedback)"))]
    lines = [
        [student, *(each for title in titles for each in _moodle_cells(row.get(title)))]
        for student, row in rows.items()
    ]
    return _csv([header, *lines])


def as_canvas(grades: Sequence[Grade]) -> str:
    """Return CSV for Canvas's gradebook import: a row per student, found by SIS User ID, and the points of each assignment."""
    titles, rows = _table(grades)
    of = {grade.assignment.title: grade.assignment.points for grade in grades}
    possible = ["    Points Possible", "", "", "", "", *(_number(of[title]) for title in titles)]
    lines = [
        ["", "", student, "", "", *(_number(row[title].points) if title in row else "" for title in titles)]
        for student, row in rows.items()
    ]
    return _csv([[*_CANVAS, *titles], possible, *lines])


def feedback_of(grade: Grade) -> str:
    """Return a page of Markdown for the student: each cell's points and sentence."""
    rest = f", and up to {_number(grade.by_rubric)} for what you wrote" if grade.by_rubric else ""
    lines = [
        f"# {grade.assignment.title}",
        "",
        f"{grade.student}: **{_number(grade.points)} of {_number(grade.assignment.points)} points**{rest}.",
        "",
        "| cell | points | |",
        "|---|---|---|",
        *(f"| {each.cell} | {_points(each)} | {_cell(each.feedback)} |" for each in grade.cells),
        "",
    ]
    return "\n".join(lines)


def _table(grades: Sequence[Grade]) -> tuple[list[str], dict[str, dict[str, Grade]]]:
    """Return the titles in the course's order, and for each student the grade by title."""
    rows: dict[str, dict[str, Grade]] = {}
    for each in grades:
        rows.setdefault(each.student, {})[each.assignment.title] = each
    titles = sorted({(each.assignment.name, each.assignment.title) for each in grades})
    return [title for _, title in titles], dict(sorted(rows.items()))


def _moodle_cells(grade: Grade | None) -> tuple[str, str]:
    if grade is None:
        return "", ""
    lost = (f"{each.cell}: {each.feedback}" for each in grade.cells if each.points != each.of)
    return _number(grade.points), " ".join(lost) or "All right."


def _points(cell: CellGrade) -> str:
    return f"{'?' if cell.points is None else _number(cell.points)} / {_number(cell.of)}"


def _number(value: float) -> str:
    return f"{value:g}"


def _cell(text: str) -> str:
    """Return a text for a cell of a Markdown table; it may quote an error that a student's code words."""
    return " ".join(text.replace("|", "/").replace("`", "'").replace("<", "&lt;").split())


def _csv(rows: Iterable[Sequence[str]]) -> str:
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows(rows)
    return written.getvalue()
