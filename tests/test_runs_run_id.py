"""Laws of a run's identity: what was asked for gives the id, and weights that were exchanged since are noticed."""

import json
import shutil

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from workbench import runs
from workbench.errors import BadInput, StaleRun
from workbench.runs.plans import plan

pytestmark = pytest.mark.usefixtures("the_package_stands_still")

HUB_ID = "someone/tiny"


def write(folder, model=HUB_ID, revision=None):
    lines = ["from workbench.runs import Model", f"model: Model = {model!r}"] + (
        [f"revision: str = {revision!r}"] if revision else []
    )
    cell = new_code_cell("\n".join(lines), metadata={"tags": ["parameters"]}, id="first")
    nbformat.write(new_notebook(cells=[cell, new_code_cell("y = 1", id="second")]), folder / "mine.ipynb")
    return folder / "mine.ipynb"


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_STORE", str(tmp_path / "store.sqlite"))


@pytest.mark.parametrize("architecture", ["bloom", "mt5"])
def test_a_run_has_the_same_id_before_and_after_a_download(
    tmp_path, checkpoints, fill_hub_cache, architecture
):
    """A sweep killed in its first night ran everything again: the digest was part of the id once it was known."""
    before = plan(write(tmp_path))
    fill_hub_cache(checkpoints[architecture], HUB_ID)
    after = plan(write(tmp_path))
    assert before.run_id == after.run_id
    assert (before.spec["models"], set(after.digests())) == ({HUB_ID: f"{HUB_ID}@main"}, {HUB_ID})


def test_another_revision_and_another_folder_have_other_ids(tmp_path, checkpoints, fill_hub_cache):
    fill_hub_cache(checkpoints["bloom"], HUB_ID)
    one = plan(write(tmp_path, revision="main")).run_id
    assert one != plan(write(tmp_path, revision="c" * 40)).run_id
    folder = tmp_path / "weights"
    shutil.copytree(checkpoints["bloom"], folder)
    first = plan(write(tmp_path, str(folder)))
    shutil.copy(checkpoints["mt5"] / "model.safetensors", folder)
    second = plan(write(tmp_path, str(folder)))
    assert first.run_id != second.run_id
    with pytest.raises(BadInput, match="others than when the run was planned"):
        first.still_holds()


def test_a_run_of_weights_that_were_exchanged_is_stale_until_it_is_forced(
    tmp_path, checkpoints, fill_hub_cache
):
    """Neither repeated without a word nor taken for done; the twin is the same run before the exchange."""
    root = tmp_path / "runs"
    fill_hub_cache(checkpoints["bloom"], HUB_ID)
    sweep = tmp_path / "mine.toml"
    sweep.write_text('notebook = "mine.ipynb"')
    first = runs.run(write(tmp_path), root=root)
    assert runs.run(tmp_path / "mine.ipynb", root=root).reused
    assert runs.sweep(sweep, root=root).counts == {"there": 1}

    fill_hub_cache(checkpoints["mt5"], HUB_ID, commit="d" * 40)
    with pytest.raises(StaleRun, match=f"other weights of {HUB_ID}.*--force"):
        runs.run(tmp_path / "mine.ipynb", root=root)
    done = runs.sweep(sweep, root=root)
    assert (done.counts, done.exit_code) == ({"stale": 1}, 4)
    assert json.loads((done.folder / "sweep.json").read_text())["runs"][0]["state"] == "stale"

    again = runs.sweep(sweep, root=root, force=True)
    assert again.counts == {"done": 1}
    recorded = json.loads((first.folder / "run.json").read_text())["digests"]
    assert recorded != first.manifest["digests"]
    assert runs.sweep(sweep, root=root).counts == {"there": 1}


def test_a_run_whose_libraries_differ_from_the_planned_ones_is_refused(tmp_path, monkeypatch):
    planned = plan(write(tmp_path, "mini-bloomz"))
    planned.still_holds()
    monkeypatch.setattr(
        "workbench.runs.plans.package_versions", lambda: {**planned.spec["packages"], "torch": "0"}
    )
    with pytest.raises(BadInput, match="not the one in which the run was planned: torch 0 instead of "):
        planned.still_holds()
