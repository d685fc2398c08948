"""nbgrader itself, from the course's sources to feedback: the same release, the same points, the same sentences."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_coursework import COURSE, NAMES, handed_in
from workbench.grading import build_release, grade, read_course, read_submission
from workbench.grading.release import without_solution

pytest.importorskip("nbgrader", reason="needs the extra coursework")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A copy of the course in which nbgrader has generated the release."""
    place = tmp_path_factory.mktemp("nbgrader") / "course"
    shutil.copytree(COURSE, place, ignore=shutil.ignore_patterns("release", "__pycache__"))
    build_release(place)
    (place / "release").rename(place / "ours")
    for name in NAMES:
        nbgrader(place, "generate_assignment", name)
    return place


def nbgrader(place, *words):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # it calls alembic
    done = subprocess.run(
        [sys.executable, "-m", "nbgrader", *words], cwd=place, capture_output=True, text=True, timeout=300,
        env={**os.environ, "PATH": path, "PYTHONWARNINGS": "ignore", "JUPYTER_PREFER_ENV_PATH": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


def cells(path):
    return [
        (cell["cell_type"], "".join(cell["source"]))
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
    ]


@pytest.mark.parametrize("name", NAMES)
def test_the_release_is_the_one_that_nbgrader_generates(name, folder):
    file = f"{name}/{name}.ipynb"
    assert cells(folder / "ours" / file) == cells(folder / "release" / file)


def test_two_students_get_the_same_points_from_both_and_feedback(folder):
    name = NAMES[0]
    loop = "def read_prompt(ids, side):\n    raise ValueError('<script>')"
    given = {"full": {}, "part": {"more": [loop]}, "none": {"change": without_solution}}
    course = read_course(folder)
    expected = {}
    for student, how in given.items():
        place = folder / "submitted" / student / name
        place.mkdir(parents=True)
        path = handed_in(place, name, student=student, file=f"{name}.ipynb", **how)
        graded = grade(read_submission(path, course), course)
        expected[student] = graded.points
    assert expected["none"] == 0 < expected["part"] < expected["full"]
    nbgrader(folder, "autograde", name)
    nbgrader(folder, "generate_feedback", name)
    nbgrader(folder, "export")
    with (folder / "grades.csv").open(encoding="utf-8") as file:
        found = {
            row["student_id"]: float(row["score"])
            for row in csv.DictReader(file)
            if row["assignment"] == name
        }
    assert found == expected
    page = (folder / "feedback/part" / name / f"{name}.html").read_text(encoding="utf-8")
    assert "It raised ValueError" in page
    assert "<script>')" not in page
    assert not any(
        line in page
        for line in (Path(folder) / "checks" / f"{name}.py").read_text().splitlines()
        if "yield" in line
    )
