"""The grader: what a submission attempts costs it its own cell and harms nothing; reports are what gradebooks read."""

import csv
import io
import json
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from tests.test_coursework import COURSE, handed_in, only
from workbench.cli.grade import grade as grade_command
from workbench.errors import BadInput
from workbench.grading import (
    Choice,
    Limits,
    as_canvas,
    as_moodle,
    build_release,
    feedback_of,
    grade,
    read_course,
    read_submission,
    read_submissions,
    sandbox,
)
from workbench.grading.sandbox import call_apart, is_isolated

NAME = "1_what_is_a_score"
QUICK = Limits(seconds=2)
RIGHT = "    return ids[: 2048 if side == 'bloom' else 512]\n"
CHECKS = COURSE / "checks" / f"{NAME}.py"


@pytest.fixture(scope="module")
def course():
    return only(read_course(COURSE), NAME, "read_prompt")


def graded(folder, course, code, **options):
    """The grade of a notebook whose `read_prompt` is defined by this code."""
    path = handed_in(folder, NAME, more=[code], **options)
    return grade(read_submission(path, course), course, QUICK)


@pytest.mark.parametrize(
    ("body", "said"),
    {
        "while True: pass": "longer than 2 seconds",
        "return [0] * 10**10": "memory",
        "return 'x' * (2 * 10**7)": "returned more",
        "import os; os._exit(0)": "ended the process",
        "raise SystemExit": "SystemExit",
        "return read_prompt(ids, side)": "RecursionError",
        "import os; os.fork()": "may not use os.fork",
        "import subprocess; subprocess.run(['true'])": "may not use",
        "import socket; socket.create_connection(('127.0.0.1', 80))": "may not use",
        "import ctypes; ctypes.CDLL(None)": "may not use",
        f"return open({str(CHECKS)!r}).read()": "may not use files",
        f"import sys; sys.path.insert(0, {str(COURSE)!r}); import checks": "",
        "from workbench.inference.scoring import PROTOCOLS": "may not use workbench",
        "open('left', 'w')": "may not use files",
        "return {1: object()}": "returned a object",
        "return None": "not of the kind",
        "return [1] * 3": "published limits",
        "raise ValueError('\\x1b[2J')": "ValueError",
    }.items(),
)  # fmt: skip
def test_what_a_function_attempts_costs_its_cell(body, said, course, tmp_path):
    [cell] = graded(tmp_path, course, f"def read_prompt(ids, side):\n    {body}\n").cells
    assert cell.points == 0
    assert said in cell.feedback


def test_twin_the_right_function_has_its_points_whatever_it_prints_or_breaks(course, tmp_path):
    for first in (
        "print('x' * 10**7)",
        "import numpy; numpy.array = numpy.asarray = None",
        "import json; json.loads = None",
    ):
        [cell] = graded(tmp_path, course, f"def read_prompt(ids, side):\n    {first}\n{RIGHT}").cells
        assert cell.points == cell.of


CHEATS = [
    "import workbench.grading\nworkbench.grading.grade = lambda *_: None\ndef read_prompt(ids, side): return []",
    "class Anything(list):\n    def __eq__(self, other): return True\ndef read_prompt(ids, side): return Anything()",
    "import builtins\nbuiltins.all = lambda *_: True\ndef read_prompt(ids, side): return []",
    "def check(*_): return lambda probe: True\ndef read_prompt(ids, side): return []",
    "def read_prompt(ids, side):\n    import os\n    for fd in range(3, 20):\n        try:\n            os.write(fd, b'{\"value\": []}\\n' * 9)\n        except OSError:\n            pass\n    return []",
    "def read_prompt(ids, side, made=[]):\n    import gc\n    return gc.get_objects()",
    "read_prompt = 'right'\ndef read_prompt(ids, side) return",
]


@pytest.mark.parametrize("code", CHEATS)
def test_a_patched_grader_assert_or_name_gives_nothing(code, course, tmp_path):
    [cell] = graded(tmp_path, course, code, change=blank).cells
    assert cell.points == 0


def blank(cell):
    """A cell's source, but nothing that defines functions."""
    return "" if "def " in cell["source"] else cell["source"]


def test_a_function_that_is_missing_or_no_python_is_said_so(course, tmp_path):
    [cell] = graded(tmp_path, course, "", change=blank).cells
    assert cell.feedback == "There is no function read_prompt."
    [cell] = graded(tmp_path, course, "def read_prompt(ids side): pass", change=blank).cells
    assert "not Python (line 1" in cell.feedback


def test_helpers_constants_and_magics_of_other_cells_are_taken_along_and_nothing_else(course, tmp_path):
    code = "%time 1 + 1\nLIMITS: dict = {'bloom': 2048, 'mt5': 512}\nraise SystemExit\ndef cut(ids, n): return ids[:n]\ndef read_prompt(ids, side): return cut(ids, LIMITS[side])"
    [cell] = graded(tmp_path, course, code).cells
    assert cell.points == cell.of
    [cell] = graded(
        tmp_path, course, "limit = len('x' * 512)\ndef read_prompt(ids, side): return ids[:limit]"
    ).cells
    assert "NameError" in cell.feedback
    assert "no computed constants" in cell.feedback


def test_literals_of_a_tuple_or_a_chain_are_taken_along(course, tmp_path):
    code = "FEW, (MANY, _) = 512, (2048, 0)\nLOW = START = 0\ndef read_prompt(ids, side): return ids[LOW + START: MANY if side == 'bloom' else FEW]"
    [cell] = graded(tmp_path, course, code).cells
    assert cell.points == cell.of


@pytest.mark.parametrize(
    ("code", "points", "said"),
    [
        ('predicted_base, predicted_p3 = "answers", "continues"', 1, "Right."),
        ('predicted_base = predicted_p3 = "answers"', 1, "Right."),
        ('[predicted_base, predicted_p3] = ("answers", "continues")', 1, "Right."),
        ('predicted_base, predicted_p3 = "answers", "no option"', 0, "predicted_p3 is none of 'answers', "),
        ('predicted_base = predicted_p3 = "".join("answers")', 0, 'No line `predicted_p3 = "..."` was found'),
        ('predicted_base, predicted_p3 = "answers", "continues", ""', 0, "No line"),
        ('predicted_base, *predicted_p3 = "answers", "continues"', 0, "No line"),
    ],
)
def test_a_choice_is_read_from_any_assignment_of_literals_and_else_is_said_to_be_missing(
    code, points, said, tmp_path
):
    whole = read_course(COURSE)
    [one] = [each for each in whole.assignments if each.name == "3_broken_measure"]
    cells = tuple(
        each for each in one.cells if isinstance(each.check, Choice) and each.check.variable == "predicted_p3"
    )
    part = replace(whole, assignments=(replace(one, cells=cells),))
    path = handed_in(tmp_path, one.name, change=lambda _: "", more=['student: str = "s-1"', code])
    [cell] = grade(read_submission(path, part, student="s-1"), part).cells
    assert cell.points == points
    assert said in cell.feedback


def test_a_loop_costs_only_the_cells_of_its_function(tmp_path):
    whole = read_course(COURSE)
    path = handed_in(tmp_path, NAME, more=["def read_prompt(ids, side):\n    while True: pass"])
    found = grade(read_submission(path, whole), whole, QUICK)
    assert {each.cell for each in found.cells if each.points == 0} == {"truncation"}


def test_a_function_that_sleeps_is_killed_and_leaves_no_process_behind(monkeypatch, tmp_path):
    worker = tmp_path / "grading" / "worker.py"
    worker.parent.mkdir()
    shutil.copy(sandbox._WORKER, worker)
    monkeypatch.setattr(sandbox, "_WORKER", worker)
    code = ["def f():\n    import time\n    time.sleep(600)"]
    assert "longer" in sandbox.call_apart(code, "f", [[]], Limits(seconds=1))[0].failure
    found = subprocess.run(["pgrep", "-f", str(worker)], capture_output=True, text=True, check=False)
    assert found.stdout == ""


def test_a_process_that_does_not_start_is_a_fault_and_not_a_zero(monkeypatch, tmp_path):
    monkeypatch.setattr(sandbox, "_WORKER", tmp_path / "missing.py")
    with pytest.raises(RuntimeError, match="did not start"):
        sandbox.call_apart(["def f(): return 1"], "f", [[]], QUICK)


def test_code_cannot_erase_what_was_said_before_it():
    code = [
        "def f():\n    import os\n    for fd in range(3, 9):\n        try:\n            os.lseek(fd, 0, 0)\n            os.write(fd, b'nothing')\n        except OSError:\n            pass\n    return 1"
    ]
    assert sandbox.call_apart(code, "f", [[]], QUICK)[0].failure == "What it returned cannot be read."


@pytest.mark.skipif(not is_isolated(), reason="no user namespaces here")
def test_the_process_has_no_network_even_without_the_hook(monkeypatch, tmp_path):
    """The kernel's part alone: the worker is told to refuse nothing."""
    text = (COURSE.parent / "src/workbench/grading/worker.py").read_text(encoding="utf-8")
    worker = tmp_path / "grading" / "worker.py"
    worker.parent.mkdir()
    worker.write_text(text.replace("    refuse()\n", ""), encoding="utf-8")
    monkeypatch.setattr(sandbox, "_WORKER", worker)
    code = [
        "def f():\n    import os, socket\n    return [[name for _, name in socket.if_nameindex()], os.getpid() < 100]"
    ]
    assert call_apart(code, "f", [[]], Limits())[0].value == [["lo"], True]


def test_arrays_arrive_as_they_were_sent_and_results_return_as_plain_values():
    sent = [
        np.array([[1.5, -np.inf]], dtype=np.float32),
        np.arange(3),
        {"a": [True, None, "é"]},
        np.float64(2),
    ]
    code = ["def f(a, b, c, d):\n    return a, str(a.dtype), a.shape, b.sum(), c, d, {3: (1, 2)}"]
    [found] = call_apart(code, "f", [sent], Limits())
    assert found.value == [[[1.5, -np.inf]], "float32", [1, 2], 3, sent[2], 2.0, {"3": [1, 2]}]


def test_data_differ_between_students_and_salts_and_are_the_same_again(course, tmp_path):
    code = "def read_prompt(ids, side):\n    raise ValueError(ids[:5])"
    said = [graded(tmp_path, course, code, student=student).cells[0].feedback for student in ("a", "a", "b")]
    other = graded(tmp_path, replace(course, salt="other"), code, student="a").cells[0].feedback
    assert said[0] == said[1]
    assert len({said[0], said[2], other}) == 3


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"student": ""}, "parameter student is empty"),
        ({"student": "=cmd|x"}, "is not an id"),
        ({"metadata": {}}, "no notebook of this course"),
        ({"metadata": {"workbench": 3}}, "no notebook of this course"),
    ],
)
def test_a_notebook_that_is_nobodys_or_of_no_assignment_is_refused(change, match, course, tmp_path):
    path = handed_in(tmp_path, NAME, student=change.get("student", "s"))
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(
        json.dumps(content | {key: change[key] for key in change if key == "metadata"}), encoding="utf-8"
    )
    with pytest.raises(BadInput, match=match):
        read_submission(path, course)


def test_two_notebooks_of_one_student_are_refused(course, tmp_path):
    paths = [handed_in(tmp_path, NAME, file=file) for file in ("a.ipynb", "b.ipynb")]
    with pytest.raises(BadInput, match="both by 's-1'"):
        read_submissions(paths, course)


@pytest.fixture
def two(course, tmp_path):
    codes = {
        "ada": f"def read_prompt(ids, side):\n{RIGHT}",
        "bob": "def read_prompt(ids, side):\n    raise ValueError('a|b`<i>')",
    }
    return [graded(tmp_path, course, code, student=student) for student, code in codes.items()]


def test_gradebooks_and_pages_say_the_points(two):
    moodle = list(csv.DictReader(io.StringIO(as_moodle(two))))
    assert [row["What is a score?"] for row in moodle] == ["2", "0"]
    assert moodle[0]["What is a score? (feedback)"] == "All right."
    assert moodle[1]["ID number"] == "bob"
    canvas = list(csv.DictReader(io.StringIO(as_canvas(two))))
    assert [row["What is a score?"] for row in canvas] == ["2", "2", "0"]
    assert [row["SIS User ID"] for row in canvas] == ["", "ada", "bob"]
    page = feedback_of(two[1])
    assert "**0 of 2 points**" in page
    assert "a/b'&lt;i>" in page


def test_the_students_archive_has_neither_solutions_nor_checks(tmp_path):
    place = tmp_path / "course"
    subprocess.run(["cp", "-r", COURSE, place], check=True)
    students, instructors = build_release(place)
    with zipfile.ZipFile(students) as archive:
        names = archive.namelist()
        text = "".join(archive.read(name).decode() for name in names)
    notebooks = [name for name in names if name.endswith(".ipynb")]
    assert len(notebooks) == len(read_course(place).assignments) + 1  # and the capstone's
    assert "SOLUTION" not in text
    assert "check(" not in text
    assert not any("checks" in name for name in names)
    assert students.read_bytes() == build_release(place)[0].read_bytes()
    with zipfile.ZipFile(instructors) as archive:
        archive.extractall(tmp_path / "given")
    assert read_course(tmp_path / "given" / "coursework").assignments[0].points == 17


def test_a_solution_outside_a_marked_cell_is_not_handed_out(tmp_path):
    place = tmp_path / "course"
    subprocess.run(["cp", "-r", COURSE, place], check=True)
    path = place / "source" / NAME / f"{NAME}.ipynb"
    content = json.loads(path.read_text(encoding="utf-8"))
    for cell in content["cells"]:
        cell["metadata"].get("nbgrader", {}).update(solution=False)
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(BadInput, match="would be handed out"):
        build_release(place)


def test_a_graded_cell_without_a_check_is_no_course(tmp_path):
    place = tmp_path / "course"
    subprocess.run(["cp", "-r", COURSE, place], check=True)
    checks = place / "checks" / f"{NAME}.py"
    checks.write_text(
        checks.read_text(encoding="utf-8").replace('@check("space"', '@check("spaces"'), encoding="utf-8"
    )
    with pytest.raises(BadInput, match="space, spaces has a graded cell or a check, but not both"):
        read_course(place)


def test_long_feedback_is_wrapped_and_takes_no_column_from_the_points(tmp_path, capsys):
    """A sentence of 150 letters cost the columns of points and its own end."""
    name = "5_know_or_remember"
    path = handed_in(tmp_path, name, change=blank, more=['evidence = "class"'])
    grade_command([path], course=COURSE)
    printed = capsys.readouterr().out
    assert printed.split()[:4] == ["cell", "points", "of", "feedback"]
    assert "…" not in printed
    assert "evidence" in printed
    assert "control labels have in common?" in " ".join(printed.split())
    assert max(map(len, printed.splitlines())) <= 160
    assert re.search(r"^s-1 +0 +22 ", printed, re.MULTILINE)


def test_the_command_grades_and_writes_what_it_was_asked_for(tmp_path):
    paths = [handed_in(tmp_path, NAME, file=f"{name}.ipynb", student=name) for name in ("ada", "bob")]
    done = subprocess.run(
        [sys.executable, "-m", "workbench.cli", "grade", *paths, "--course", COURSE, "--feedback", tmp_path / "said",
         "--moodle", tmp_path / "m.csv", "--canvas", tmp_path / "c.csv", "--json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert [(each["student"], each["points"], each["by_rubric"]) for each in found] == [
        ("ada", 17, 3),
        ("bob", 17, 3),
    ]
    assert {path.name for path in (tmp_path / "said").iterdir()} == {f"ada_{NAME}.md", f"bob_{NAME}.md"}
    assert (
        (tmp_path / "m.csv").read_text().count("\n") == (tmp_path / "c.csv").read_text().count("\n") - 1 == 3
    )
