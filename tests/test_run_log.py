"""Laws of what a notebook run records, and of finding data."""

import json
import math

import pandas as pd
import pytest

from workbench import atomic, paths, run_log
from workbench.errors import BadInput, StoreFailed


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_RUN", str(tmp_path))
    return tmp_path


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_numbers_recorded_in_several_calls_stand_together(folder):
    run_log.record(accuracy=0.5, language="no")
    run_log.record(items=3)
    assert read(folder / "metrics.json") == {"accuracy": 0.5, "items": 3, "language": "no"}


@pytest.mark.parametrize("value", [math.nan, math.inf, [1], None])
def test_what_cannot_be_compared_later_is_refused_and_nothing_is_written(folder, value):
    with pytest.raises(BadInput, match="accuracy"):
        run_log.record(items=3, accuracy=value)
    assert not (folder / "metrics.json").exists()


def test_facts_of_two_rooms_about_the_same_thing_are_merged_at_every_depth(folder):
    run_log.note(models={"mini-bloomz": {"weights": "a"}}, store={"hits": 1})
    run_log.note(
        models={"mini-bloomz": {"dtype": "float32"}, "mini-mt0": {"weights": "b"}}, store={"hits": 2}
    )
    facts = read(folder / "facts.json")
    assert facts["models"] == {
        "mini-bloomz": {"weights": "a", "dtype": "float32"},
        "mini-mt0": {"weights": "b"},
    }
    assert facts["store"] == {"hits": 2}


def test_a_fact_that_json_cannot_hold_is_refused(folder):
    with pytest.raises(BadInput, match="store"):
        run_log.note(store={1, 2})
    assert not (folder / "facts.json").exists()


def test_a_kept_table_reads_back_as_it_was(folder):
    table = pd.DataFrame({"language": ["no", "x-fr"], "accuracy": [0.5, 0.25]})
    run_log.keep_table(table)
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "results.parquet"), table)


def test_outside_a_run_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.delenv("WORKBENCH_RUN", raising=False)
    monkeypatch.chdir(tmp_path)
    run_log.record(accuracy=0.5)
    run_log.note(store={"hits": 1})
    run_log.keep_table(pd.DataFrame({"a": [1]}))
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_the_old_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "metrics.json"
    atomic.write_atomically(path, "old")
    with pytest.raises(StoreFailed, match="could not write"):
        atomic.write_atomically(tmp_path / "missing" / "metrics.json", "new")
    monkeypatch.setattr(
        "pathlib.Path.replace", lambda self, target: (_ for _ in ()).throw(OSError("disk full"))
    )
    with pytest.raises(StoreFailed, match="disk full"):
        atomic.write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_data_is_found():
    assert paths.data_path("README.md").is_file()
    assert not paths.data_path("no-such-file").exists()
