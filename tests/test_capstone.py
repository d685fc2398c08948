"""A whole capstone, registered, run and graded; and what is wrong with others, each of which loses its own points."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from workbench.errors import BadInput
from workbench.grading import (
    Limits,
    as_moodle,
    feedback_of,
    grade_capstone,
    read_course,
    read_registration,
    receive,
)
from workbench.grading.capstone import INSPECTIONS, inspected
from workbench.grading.handed_in import HandedIn, filled, typed_numbers
from workbench.grading.registration import Receipt, _seal
from workbench.runs import read_notebook, run

COURSE = Path(__file__).parents[1] / "coursework"
BY_WORDS = """
def estimate(first, second, cluster):
    from scipy.stats import t

    names, of = np.unique(cluster, return_inverse=True)
    sizes = np.bincount(of)
    apart = np.bincount(of, second - first)
    middle = apart.sum() / sizes.sum()
    rest = apart - middle * sizes
    k = len(names)
    reach = t.ppf(0.975, k - 1) * np.sqrt(k / (k - 1) * (rest**2).sum()) / sizes.sum()
    return {"estimate": middle, "low": middle - reach, "high": middle + reach}
"""
OF_ITEMS = """
def estimate(first, second, cluster):
    apart = second - first
    reach = 1.96 * apart.std(ddof=1) / np.sqrt(len(apart))
    return {"estimate": apart.mean(), "low": apart.mean() - reach, "high": apart.mean() + reach}
"""
CERTAIN_OF_NOTHING = """
def estimate(first, second, cluster):
    return {"estimate": float(np.mean(second - first)), "low": -1.0, "high": 1.0}
"""
REPORT = """# What finetuning gives to languages that it left out
In the second training `mini-bloomz` gained {replication.gain_left_out:.2f} (from {replication.gain_left_out_low:+.2f} to
{replication.gain_left_out_high:.2f}); seen minus left out {replication.seen_above_left_out:.2f}; without the mark
{replication.no_mark:.0%}, in 2026. In the pack it was {pack.pack_gain:.1f}.

1. Three limits follow.
"""


@pytest.fixture(scope="module")
def course():
    return read_course(COURSE)


def with_estimator(path, code):
    content = json.loads(path.read_text(encoding="utf-8"))
    for cell in content["cells"]:
        if cell["id"] == "estimate":
            cell["source"] = code
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture(scope="module")
def good(tmp_path_factory, course):
    """The folder of a pair who did everything: two real runs after the receipt, of which one asks models."""
    folder = tmp_path_factory.mktemp("handed-in") / "pair"
    shutil.copytree(COURSE / "capstone", folder, ignore=shutil.ignore_patterns("runs"))
    with_estimator(folder / "capstone.ipynb", BY_WORDS)
    (folder / "report.md").write_text(REPORT, encoding="utf-8")
    receive(folder / "registration.toml", course.salt)
    for stage in ("replication", "pack"):
        run(folder / "capstone.ipynb", {"stage": stage}, root=folder / "runs")
    return folder


@pytest.fixture
def handed_in(good, tmp_path):
    """A copy that may be broken."""
    return shutil.copytree(good, tmp_path / "pair")


def run_of(folder, stage):
    [found] = [
        path.parent
        for path in (folder / "runs").glob("*/*/run.json")
        if json.loads(path.read_text())["parameters"]["stage"] == stage
    ]
    return found


def lost(graded):
    found = {each.cell: each.points for each in graded.cells if each.points not in (None, each.of)}
    assert set(found.values()) <= {0}
    return set(found)


def inspected_cells(folder, course, *, audited=False):
    """The cells of a folder graded by machine; without the estimator's, which take seconds, unless `audited`."""
    template = read_notebook(COURSE / "capstone" / "capstone.ipynb")
    one = HandedIn(folder, template, course.salt, Limits())
    return [inspected(one, each) for each in INSPECTIONS if audited or each.cell not in AUDITED]


def edit(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_a_whole_capstone_has_full_marks_and_its_report_is_filled_in_for_the_reader(good, course):
    graded = grade_capstone(good, course)
    assert lost(graded) == set()
    assert (graded.student, graded.points, graded.by_rubric) == ("ada.ben", 27, 13)
    report = graded.cells[-1].paragraph
    metrics = json.loads((run_of(good, "replication") / "metrics.json").read_text())
    assert f"gained {metrics['gain_left_out']:.2f}" in report
    assert "{" not in report
    assert "ada.ben,27" in as_moodle([graded])
    assert "27 of 30 points" in feedback_of(graded)


@pytest.mark.soak
def test_its_runs_repeat(good, course):
    """Two further runs, since that a repetition passes can be seen in no other way."""
    graded = grade_capstone(good, course, repeat=True)
    assert lost(graded) == set()
    assert (graded.points, graded.by_rubric) == (30, 10)


def late(folder, course):
    """Registered after the runs."""
    digest = sha256((folder / "registration.toml").read_bytes()).hexdigest()
    when = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=1)
    made = Receipt(registration=digest, received=when, seal=_seal(course.salt, digest, when))
    (folder / "receipt.json").write_text(made.model_dump_json(), encoding="utf-8")


def earlier(folder, course):
    """Registered after the runs, and the receipt's time changed."""
    late(folder, course)
    content = json.loads((folder / "receipt.json").read_text())
    (folder / "receipt.json").write_text(json.dumps(content | {"received": "2026-01-01T00:00:00Z"}))


def edited(folder, course):
    """A contrast turned round once its result was known."""
    edit(folder / "registration.toml", 'expect = "within"\nmargin = 0.1', 'expect = "below"')


def registered_anew(folder, course):
    """The contrast turned round, and a second receipt; the runs were not repeated."""
    edited(folder, course)
    (folder / "receipt.json").unlink()
    receive(folder / "registration.toml", course.salt)


def without_manifest(folder, course):
    (run_of(folder, "replication") / "run.json").unlink()


def unfinished(folder, course):
    (run_of(folder, "pack") / "_SUCCESS").unlink()


def metric_changed(folder, course):
    path = run_of(folder, "replication") / "metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"gain_left_out": 0.9}))


def number_by_hand(folder, course):
    edit(folder / "report.md", "{replication.gain_left_out:.2f} (from", "0.47 (from")


def unknown_number(folder, course):
    edit(folder / "report.md", "{pack.pack_gain:.1f}", "{pack.pack_gain:.1f} and {pack.other_gain:.1f}")


def one_not_told(folder, course):
    edit(folder / "report.md", "{replication.no_mark:.0%}", "little")


def does_not_cover(folder, course):
    with_estimator(folder / "capstone.ipynb", OF_ITEMS)


def too_wide(folder, course):
    with_estimator(folder / "capstone.ipynb", CERTAIN_OF_NOTHING)


def no_estimator(folder, course):
    with_estimator(folder / "capstone.ipynb", "def estimate(first, second, cluster):\n    return first['a']")


def without_time_zone(folder, course):
    path = run_of(folder, "replication") / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"started": "2126-01-01T00:00:00"}))


def two_runs(folder, course):
    found = run_of(folder, "replication")
    shutil.copytree(found, found.with_name("again-000000000000"))


AUDITED = {"coverage", "power"}
NO_RUN = {"before-results", "manifest", "all-reported", "numbers"}
BROKEN = {
    late: {"before-results"},
    earlier: {"receipt", "before-results"},
    edited: {"receipt", "before-results", "all-reported"},
    registered_anew: {"before-results", "all-reported"},
    without_manifest: NO_RUN,
    unfinished: NO_RUN,
    metric_changed: {"manifest"},
    number_by_hand: {"numbers"},
    unknown_number: {"numbers"},
    one_not_told: {"numbers"},
    does_not_cover: {"coverage", "manifest", "power"},
    too_wide: {"power", "manifest"},
    no_estimator: {"coverage", "manifest", "power"},
    two_runs: NO_RUN,
    without_time_zone: NO_RUN,
}


@pytest.mark.parametrize("how", BROKEN, ids=lambda how: how.__name__)
def test_what_is_broken_loses_its_points_and_is_told_why(how, handed_in, course):
    how(handed_in, course)
    cells = inspected_cells(handed_in, course, audited=bool(BROKEN[how] & AUDITED))
    assert {each.cell for each in cells if each.points == 0} == BROKEN[how]
    assert all(each.feedback for each in cells)


def test_a_contrast_that_a_run_left_out_is_missed(handed_in, course):
    """A run, whole by its digests, in which one contrast was not reported."""
    folder = run_of(handed_in, "replication")
    metrics = json.loads((folder / "metrics.json").read_text())
    text = json.dumps({name: value for name, value in metrics.items() if not name.startswith("no_mark")})
    (folder / "metrics.json").write_text(text)
    manifest = json.loads((folder / "run.json").read_text())
    manifest["files"]["metrics.json"] = sha256(text.encode()).hexdigest()
    (folder / "run.json").write_text(json.dumps(manifest))
    cells = inspected_cells(handed_in, course)
    assert {each.cell for each in cells if each.points == 0} == {"all-reported", "numbers"}


def test_what_is_handed_out_has_no_points_but_for_a_registration_that_can_be_read(course):
    graded = grade_capstone(COURSE / "capstone", course)
    assert {each.cell for each in graded.cells if each.points} == {"registration"}


def test_a_receipt_is_for_one_course_and_one_version(tmp_path, course):
    path = tmp_path / "registration.toml"
    shutil.copy(COURSE / "capstone" / "registration.toml", path)
    made = receive(path, course.salt)
    assert receive(path, course.salt) == made
    with pytest.raises(BadInput, match="another version"):
        receive(path, "another salt")
    edit(path, "margin = 0.05", "margin = 0.01")
    with pytest.raises(BadInput, match="another version"):
        receive(path, course.salt)


def test_the_command_writes_a_receipt_beside_the_registration(tmp_path, course):
    path = tmp_path / "registration.toml"
    shutil.copy(COURSE / "capstone" / "registration.toml", path)
    words = [sys.executable, "-m", "workbench.cli", "register", str(path), "--course", str(COURSE)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert receive(path, course.salt).registration[:12] in done.stdout


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('name = "no_mark"', 'name = "gain_left_out"', "the same name"),
        ("margin = 0.1", "margin = 0.0", "give a margin above 0"),
        ('pair = "ada.ben"', 'pair = "=cmd"', "pair"),
        ('expect = "within"', 'expect = "equal"', "expect"),
        ('second = { member = "mini-mt0" }', 'second = { member = "mini-mt5" }', "with itself"),
        ("[pack]", "[pack", "TOML"),
    ],
)
def test_a_registration_that_says_nothing_certain_is_refused(old, new, said, tmp_path):
    path = tmp_path / "registration.toml"
    shutil.copy(COURSE / "capstone" / "registration.toml", path)
    edit(path, old, new)
    with pytest.raises(BadInput, match=said):
        read_registration(path)


def test_numbers_are_found_where_they_are_typed_and_not_where_they_are_names():
    report = "## 2. Results\n1. In 2026 `x-en30` and mini-mt0 had {a.b:.2f}.\n```\nx = 3.5\n```\nIt rose by 17 points, -0.25 and 3 %."
    assert [each.split("'")[1] for each in typed_numbers(report)] == ["17", "-0.25", "3 %"]


def test_references_are_filled_and_strange_forms_are_refused():
    values = {("pack", "gain"): 0.256}
    text, wrong = filled("{pack.gain:.0%} {pack.gain:>999999999} {pack.loss}", lambda *key: values[key])
    assert text.startswith("26% {pack.gain:>999999999}")
    assert wrong == ["{pack.gain:>999999999} resolves to nothing", "{pack.loss} resolves to nothing"]


def test_a_receipt_of_one_course_is_none_in_another(good, course):
    cells = inspected_cells(good, replace(course, salt="other"))
    assert {each.cell for each in cells if each.points == 0} == {"receipt", "before-results"}
