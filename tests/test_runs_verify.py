"""Laws of verifying: what is the same passes, any one thing that changed is named with its size, worst first."""

import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from workbench import runs
from workbench.errors import BadInput
from workbench.runs import verifying
from workbench.runs.bundles import Ending, State
from workbench.runs.expected import Expected, differences, drift, expectation
from workbench.runs.verifying import Case, Verdict

METRICS = {"accuracy": 0.75, "accuracy_low": 0.6, "accuracy_high": 0.85, "items": 40, "language": "no"}
MANIFEST = {
    "run_id": "default-012345678901", "notebook": "mine", "status": "done", "exit_code": 0, "ended": "2024-01-01T00:00:00",
    "seconds": 1.0, "parameters": {}, "given": {}, "python": "3.11.7", "packages": {"torch": "2.13.0"}, "digests": {"mini-bloomz": "a-b"},
    "hardware": {"gpus": []},
}  # fmt: skip


def table():
    right = np.arange(40) % 4 != 0
    return pd.DataFrame(
        {
            "id": [f"i{n}" for n in range(40)], "cluster": [n // 2 for n in range(40)], "prediction": np.arange(40) % 3,
            "correct": right, "margin": np.linspace(-1, 1, 40), "scores": [[-0.1 * n, -2.0] for n in range(40)],
            "text": ["猫"] * 40,
        }
    )  # fmt: skip


def run_folder(folder, *, metrics=None, rows=None, **manifest):
    """A finished run, made by hand."""
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({**MANIFEST, **manifest}))
    (folder / "metrics.json").write_text(json.dumps(METRICS if metrics is None else metrics))
    (table() if rows is None else rows).to_parquet(folder / "ranked.parquet", index=False)
    (folder / "_SUCCESS").touch()
    return folder


@pytest.fixture
def expected(tmp_path):
    first = expectation(run_folder(tmp_path / "first"))
    return Expected.model_validate_json(first.model_dump_json())  # as it comes back from a file


def against(expected, folder, **options):
    return differences(expected, expectation(folder), **options)


def test_the_same_results_do_not_differ(expected, tmp_path):
    assert against(expected, run_folder(tmp_path / "again")) == []
    assert against(expected, run_folder(tmp_path / "third"), statistical=True) == []


@pytest.mark.parametrize(
    ("change", "what", "tier"),
    [
        ({"accuracy": 0.7503}, "accuracy", "tolerance"),
        ({"items": 41}, "items", "exact"),
        ({"items": 40.0}, "items", "exact"),
        ({"language": "on"}, "language", "exact"),
        ({"new": 1}, "new", "exact"),
    ],
)
def test_any_metric_that_changed_is_named_with_its_tier(expected, tmp_path, change, what, tier):
    (found,) = against(expected, run_folder(tmp_path / "again", metrics={**METRICS, **change}))
    assert (found.what, found.tier) == (what, tier)


def test_a_metric_within_its_tolerance_passes_and_the_tolerance_can_be_widened(expected, tmp_path):
    assert against(expected, run_folder(tmp_path / "near", metrics={**METRICS, "accuracy": 0.75005})) == []
    far = run_folder(tmp_path / "far", metrics={**METRICS, "accuracy": 0.76})
    assert math.isclose(against(expected, far)[0].off, 0.01 / (1e-4 + 0.75e-4), rel_tol=1e-6)
    expected.metrics["accuracy"].atol = 0.02
    assert against(expected, far) == []


@pytest.mark.parametrize(
    ("column", "value", "what", "got"),
    [
        ("prediction", 7, "ranked: prediction", "1 differ: rows 3"),
        ("text", "狗", "ranked: text", "1 differ: rows 3"),
        ("correct", False, "ranked: correct", "1 differ: rows 3"),
        ("margin", 0.5, "ranked.margin", "0.5 (1 of 40 numbers)"),
        ("margin", float("nan"), "ranked.margin", "nan (1 of 40 numbers)"),
    ],
)
def test_any_cell_of_a_table_that_changed_is_named_with_its_row(expected, tmp_path, column, value, what, got):
    rows = table()
    rows.loc[3, column] = value
    (found,) = against(expected, run_folder(tmp_path / "again", rows=rows))
    assert (found.what, found.got) == (what, got)


def test_scores_in_lists_are_compared_within_a_tolerance(expected, tmp_path):
    near, far = table(), table()
    near["scores"] = [[x + 1e-4, y] for x, y in near["scores"]]
    far["scores"] = [[x + 1e-2, y] for x, y in far["scores"]]
    assert against(expected, run_folder(tmp_path / "near", rows=near)) == []
    assert [each.what for each in against(expected, run_folder(tmp_path / "far", rows=far))] == [
        "ranked.scores"
    ]


def test_another_number_of_rows_a_missing_table_and_another_model_are_told(expected, tmp_path):
    short = run_folder(tmp_path / "short", rows=table().head(39), digests={"mini-bloomz": "c-d"})
    assert {each.what for each in against(expected, short)} == {"model mini-bloomz", "ranked: rows"}
    (short / "ranked.parquet").unlink()
    assert "table ranked" in {each.what for each in against(expected, short)}


def test_the_worst_comes_first(expected, tmp_path):
    rows = table()
    rows["margin"] += 0.5
    metrics = {**METRICS, "accuracy": 0.751, "items": 39}
    found = against(expected, run_folder(tmp_path / "again", metrics=metrics, rows=rows))
    assert [each.what for each in found] == ["items", "ranked.margin", "accuracy"]


def test_on_other_hardware_intervals_decide(expected, tmp_path):
    rows = table()
    rows.loc[3, ["prediction", "correct"]] = [2, False]
    close = run_folder(tmp_path / "close", metrics={**METRICS, "accuracy": 0.72}, rows=rows)
    assert against(expected, close), "the twin: the strict tiers see it"
    assert against(expected, close, statistical=True) == []
    rows["correct"] = False
    apart = run_folder(tmp_path / "apart", metrics={**METRICS, "accuracy": 0.5}, rows=rows)
    assert {e.what for e in against(expected, apart, statistical=True)} == {
        "accuracy",
        "ranked: share of correct",
    }


def test_where_all_agree_the_interval_still_has_a_width(tmp_path):
    found = expectation(run_folder(tmp_path / "all", rows=table().assign(correct=True)))
    _, low, high = found.intervals["ranked: share of correct"]
    assert low < 0.9
    assert high == 1.0


def test_an_empty_table_and_one_with_times_can_be_expected(tmp_path):
    times = pd.DataFrame({"at": [pd.Timestamp("2024-01-01"), pd.NaT]})
    old = expectation(run_folder(tmp_path / "old", rows=times))
    assert expectation(run_folder(tmp_path / "empty", rows=table().head(0))).tables["ranked"].rows == 0
    (found,) = differences(old, expectation(run_folder(tmp_path / "new", rows=times.shift(1))))
    assert found.what == "ranked: at"


def test_drift_names_each_version_that_changed(expected):
    other = expected.model_copy(deep=True)
    assert drift(expected, other) == []
    other.environment.packages = {"torch": "2.14.0", "numpy": "2.4.6"}
    assert drift(expected, other) == ["numpy – → 2.4.6", "torch 2.13.0 → 2.14.0"]


# Accepting ---------------------------------------------------------------------------------------------------------


def test_accepting_writes_a_readable_file_that_keeps_tolerances_and_tells_what_changed(tmp_path):
    path, changed = runs.accept(run_folder(tmp_path / "default-012345678901"), folder=tmp_path / "expected")
    assert path == tmp_path / "expected/mine/default.json"
    assert changed is None, "it is new"
    assert runs.accept(tmp_path / "default-012345678901", folder=tmp_path / "expected")[1] == []
    content = json.loads(path.read_text())
    content["metrics"]["accuracy"]["atol"] = 0.5
    path.write_text(json.dumps(content))
    other = run_folder(tmp_path / "other", metrics={**METRICS, "accuracy": 0.1, "items": 1})
    _, changed = runs.accept(other, folder=tmp_path / "expected")
    assert [each.what for each in changed] == ["accuracy", "items"][::-1]
    content = json.loads(path.read_text())
    assert content["metrics"]["accuracy"] == {"value": 0.1, "rtol": 1e-4, "atol": 0.5}
    assert max(map(len, path.read_text().splitlines())) < 4000


def test_a_case_is_named_after_what_is_unusual(tmp_path):
    folder = run_folder(tmp_path / "seed-3-012345678901", given={"seed": 3})
    assert runs.accept(folder, folder=tmp_path / "expected")[0].stem == "seed-3"
    assert runs.accept(folder, "small", folder=tmp_path / "expected")[0].stem == "small"


def test_what_is_no_finished_run_or_names_this_machine_is_refused(tmp_path):
    folder = run_folder(tmp_path / "one", given={"models": ["mini-mt0", str(tmp_path)]})
    with pytest.raises(BadInput, match="path of this machine"):
        runs.accept(folder, folder=tmp_path / "expected")
    (folder / "_SUCCESS").unlink()
    with pytest.raises(BadInput, match="no finished run"):
        runs.accept(folder, folder=tmp_path / "expected")
    with pytest.raises(BadInput, match="no finished run"):
        runs.find_cases(str(folder))


@pytest.mark.parametrize("name", ["../../out", "/tmp/out", "a/b", "..", ".hidden", "n" * 300])
def test_accepting_writes_nothing_outside_the_folder_of_expected_values(tmp_path, name):
    """`--case ../../x` and a notebook's name of that form wrote where they led to."""
    expected = tmp_path / "deep" / "er" / "expected"
    with pytest.raises(BadInput, match="cannot be the name of a file"):
        runs.accept(run_folder(tmp_path / "one"), name, folder=expected)
    with pytest.raises(BadInput, match="cannot be the name of a file"):
        runs.accept(run_folder(tmp_path / "two", notebook=name), "case", folder=expected)
    assert not list(tmp_path.rglob("*out*"))
    assert not (tmp_path / "deep").exists()
    assert runs.accept(tmp_path / "one", "été-2", folder=expected)[0].parent == expected / "mine"


@pytest.mark.parametrize(
    ("manifest", "said"),
    [("[]", "object"), ('{"notebook": 3}', "run_id: Field required"), ("[" * 100_000, "Invalid JSON"), ("{", "Invalid JSON")],
)  # fmt: skip
def test_a_manifest_of_another_shape_is_named_in_a_sentence(tmp_path, manifest, said):
    folder = run_folder(tmp_path / "one")
    (folder / "run.json").write_text(manifest)
    for use in (
        lambda: runs.find_cases(str(folder)),
        lambda: runs.accept(folder, folder=tmp_path / "expected"),
    ):
        with pytest.raises(
            BadInput, match=f"run.json is no manifest of a run: .*{said}.*; delete the folder"
        ):
            use()


def test_a_wrong_name_lists_the_cases_there_are(tmp_path):
    runs.accept(run_folder(tmp_path / "one"), "small", folder=tmp_path / "expected")
    with pytest.raises(BadInput, match=r"no expected values for other; .* mine/small"):
        runs.find_cases("other", tmp_path / "expected")
    for damage in ("{}", "[]", "<<<<<<< ours", '{"format": 1, "notebook": "mine"}'):
        (tmp_path / "expected/mine/small.json").write_text(damage)
        with pytest.raises(BadInput, match=r"holds no expected values.*delete it"):
            runs.find_cases(None, tmp_path / "expected")
        with pytest.raises(BadInput, match=r"holds no expected values.*delete it"):
            runs.accept(tmp_path / "one", "small", folder=tmp_path / "expected")


# Running again -----------------------------------------------------------------------------------------------------

BODY = """
import pandas as pd
from workbench.run_log import keep_table, record
record(half=0.5 + drawn)
keep_table(pd.DataFrame({"prediction": [0, 1, 1]}))
"""


@pytest.fixture(scope="module")
def verified(tmp_path_factory):
    """One run, taken as expected under two names, of which one is changed in one number; and what the command says."""
    folder = tmp_path_factory.mktemp("verify")
    cells = [new_code_cell("drawn: float = 0.0", metadata={"tags": ["parameters"]}), new_code_cell(BODY)]
    nbformat.write(new_notebook(cells=cells), folder / "mine.ipynb")
    environment = {**os.environ, "WORKBENCH_STORE": str(folder / "store.sqlite")}

    def call(*words):
        command = [sys.executable, "-m", "workbench.cli", *map(str, words)]
        return subprocess.run(
            command, capture_output=True, text=True, env=environment, cwd=folder, timeout=300
        )

    assert call("run", "mine.ipynb").returncode == 0
    (run,) = (folder / "runs/mine").glob("default-*")
    accepted = [call("accept", run, "--expected", "expected", "--case", name) for name in ("good", "changed")]
    path = folder / "expected/mine/changed.json"
    content = json.loads(path.read_text())
    content["metrics"]["half"]["value"] = 0.625
    content["environment"]["packages"]["torch"] = "0.1"
    path.write_text(json.dumps(content))
    return {
        "accepted": accepted,
        "both": call("verify", "--expected", "expected", "--workers", 2),
        "good": call("verify", "mine/good", "--expected", "expected", "--strict-env"),
    }


def test_verifying_passes_where_nothing_changed(verified):
    assert all(done.returncode == 0 for done in verified["accepted"]), verified["accepted"][0].stderr
    assert "as expected" in verified["good"].stderr
    assert verified["accepted"][0].stdout.endswith("mine/good.json: new\n")


def test_a_changed_number_is_exit_3_and_stands_in_a_readable_table(verified):
    done = verified["both"]
    assert done.returncode == 3, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0] == ["case", "what", "tier", "expected", "got", "off", "by"]
    assert ["mine/changed", "half", "tolerance", "0.625", "0.5"] in [line[:5] for line in lines]
    assert "mine/good: " in done.stderr
    assert "torch 0.1 →" in done.stderr


def test_a_verification_that_fails_names_a_folder_that_is_still_there(tmp_path, monkeypatch):
    """The twin: one that ends well leaves none. Runs are done here, without processes."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    cells = [new_code_cell("x = 1", metadata={"tags": ["parameters"]}), new_code_cell("1 / 0")]
    nbformat.write(new_notebook(cells=cells), tmp_path / "mine.ipynb")
    case = Case("mine/default", tmp_path / "mine.ipynb", expectation(run_folder(tmp_path / "first")))

    def ended(code):
        def call(bundle):
            kept = bundle.plans[0].folder(bundle.root)
            kept.mkdir(parents=True)
            return State("here", (), (Ending(bundle.plans[0].run_id, code, f"kept in {kept}"),))

        monkeypatch.setattr(verifying, "carry_out", call)
        monkeypatch.setattr(
            verifying, "_judged", lambda case, planned, ending, *_: Verdict(case.name, ending)
        )
        (verdict,) = runs.verify([case])
        return Path(verdict.ending.message.removeprefix("kept in ")).is_dir()

    assert ended(1)
    assert not ended(0)
