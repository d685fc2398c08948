"""The coursework grades itself: full marks for its sources and other right solutions, none for what is handed out or known to be wrong."""

import importlib
import importlib.util
import inspect
import json
from dataclasses import replace
from pathlib import Path

import pytest

from workbench.grading import Check, Choice, grade, read_course, read_submission
from workbench.grading.release import without_solution

COURSE = Path(__file__).parents[1] / "coursework"
BANKS = [
    importlib.import_module(f"tests.{path.stem}")
    for path in sorted(Path(__file__).parent.glob("coursework_solutions*.py"))
]
WRONG = {name: lost for bank in BANKS for name, lost in bank.WRONG.items()}
RIGHT = [name for bank in BANKS for name in bank.RIGHT]
NAMES = [each.name for each in read_course(COURSE).assignments]
ASSIGNMENT_OF = {
    each.check.function: one.name
    for one in read_course(COURSE).assignments
    for each in one.cells
    if isinstance(each.check, Check)
}


@pytest.fixture(scope="module")
def course():
    return read_course(COURSE)


def handed_in(folder, name, *, change=lambda cell: cell["source"], more=(), student="s-1", file="mine.ipynb"):
    """Write a notebook as a student would hand it in: the source with its cells changed, and cells added at the end."""
    content = json.loads((COURSE / "source" / name / f"{name}.ipynb").read_text(encoding="utf-8"))
    for cell in content["cells"]:
        cell["source"] = "".join(cell["source"])
        cell["source"] = change(cell).replace('student: str = ""', f'student: str = "{student}"')
    empty = {"cell_type": "code", "metadata": {}, "execution_count": None, "outputs": []}
    content["cells"] += [
        {**empty, "id": f"more-{number}", "source": text} for number, text in enumerate(more)
    ]
    path = folder / file
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def code_of(name):
    """A solution of the bank as a student would write it."""
    [function] = [getattr(bank, name) for bank in BANKS if hasattr(bank, name)]
    return inspect.getsource(function).replace(name, name.split("__")[0])


def lost(graded):
    """The cells graded by machine that do not have all their points, and check that they have none."""
    found = {each.cell: each.points for each in graded.cells if each.points not in (None, each.of)}
    assert set(found.values()) <= {0}
    return set(found)


def only(course, name, function):
    """The course with one assignment and the cells of one function."""
    [one] = [each for each in course.assignments if each.name == name]
    cells = [cell for cell in one.cells if isinstance(cell.check, Check) and cell.check.function == function]
    return replace(course, assignments=(replace(one, cells=tuple(cells)),))


@pytest.mark.parametrize("name", NAMES)
def test_the_source_has_full_marks_and_its_paragraphs_are_left_to_the_rubric(name, course, tmp_path):
    path = handed_in(tmp_path, name)
    graded = grade(read_submission(path, course), course)
    assert lost(graded) == set()
    assert graded.by_rubric == 3
    assert [each.paragraph[:3] for each in graded.cells if each.points is None] == ["###"]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_handed_out_has_no_points(name, course, tmp_path):
    graded = grade(read_submission(handed_in(tmp_path, name, change=without_solution), course), course)
    assert graded.points == graded.by_rubric == 0
    assert {each.points for each in graded.cells} == {0}


@pytest.mark.parametrize("name", NAMES)
def test_right_solutions_by_other_algorithms_have_full_marks(name, course, tmp_path):
    own = [code_of(each) for each in RIGHT if ASSIGNMENT_OF[each.split("__")[0]] == name]
    for student in ("someone-else", "s2"):
        path = handed_in(tmp_path, name, more=["import itertools\nimport math\n", *own], student=student)
        assert lost(grade(read_submission(path, course), course)) == set()


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_solution_loses_the_cell_it_gets_wrong(wrong, course, tmp_path):
    function = wrong.split("__")[0]
    name = ASSIGNMENT_OF[function]
    part = only(course, name, function)
    path = handed_in(tmp_path, name, more=["import math\n", code_of(wrong)])
    graded = grade(read_submission(path, part), part)
    assert lost(graded) == WRONG[wrong]
    for each in graded.cells:
        assert each.points or each.feedback


@pytest.mark.parametrize("name", NAMES)
def test_at_least_six_wrong_solutions_and_every_check_fails_one(name, course):
    [one] = [each for each in course.assignments if each.name == name]
    own = {wrong: cells for wrong, cells in WRONG.items() if ASSIGNMENT_OF[wrong.split("__")[0]] == name}
    assert len(own) >= 6
    assert set().union(*own.values()) == {each.name for each in one.cells if isinstance(each.check, Check)}


@pytest.mark.parametrize("name", NAMES)
def test_each_wrong_choice_has_no_points_and_each_prediction_has(name, course, tmp_path):
    [one] = [each for each in course.assignments if each.name == name]
    choices = [cell.check for cell in one.cells if isinstance(cell.check, Choice)]
    part = replace(
        course, assignments=(replace(one, cells=tuple(c for c in one.cells if c.check in choices)),)
    )
    for place in range(3):
        given = {each.variable: each.options[place % len(each.options)] for each in choices}
        code = "\n".join(f"{variable} = {value!r}" for variable, value in given.items())
        graded = grade(read_submission(handed_in(tmp_path, name, more=[code]), part), part)
        right = {each.cell for each in choices if each.right in (None, given[each.variable])}
        assert lost(graded) == {each.cell for each in choices} - right


def test_the_points_that_a_notebook_promises_are_those_it_gives(course):
    for one in course.assignments:
        text = "".join(cell["source"] for cell in one.source.cells)
        assert f"{one.points:g} points are given by machine, 3 for a paragraph" in text
        for cell in one.source.code:
            about = cell["metadata"].get("nbgrader", {})
            if about.get("grade"):
                points = about["points"]
                assert cell["source"].startswith(
                    f"# graded: {points} point{'s' if points > 1 else ''} for "
                ) or (cell["source"].startswith(f"# graded: {points} point{'s' if points > 1 else ''} if "))


def test_the_token_scores_are_those_of_the_miniatures():
    spec = importlib.util.spec_from_file_location("token_scores", COURSE / "token_scores.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for path, content in module.both_files().items():
        stored = json.loads(path.read_text(encoding="utf-8"))
        assert [each["prompt"] for each in stored] == [each["prompt"] for each in content]
        for old, new in zip(stored, content, strict=True):
            assert old["rank"]["scores"] == pytest.approx(new["rank"]["scores"], abs=1e-4)
            assert [each["tokens"] for each in old["choices"]] == [each["tokens"] for each in new["choices"]]
            flat = [[value for each in one["choices"] for value in each["logprobs"]] for one in (old, new)]
            assert flat[0] == pytest.approx(flat[1], abs=1e-4)
