"""Notebook 04 on a checkpoint whose weights are not here: every answer comes from a pack."""

import json
import shutil

import pytest

from workbench import runs
from workbench.errors import NotReachable
from workbench.models import load
from workbench.paths import data_path, notebook_path
from workbench.store import Store
from workbench.store.export import export_pack
from workbench.store.packs import import_pack
from workbench.studies.evaluation import evaluate, make_plan

TASK = {"task": "xcopa", "languages": ["sw"]}
SMALL = {"miniatures": ["mini-mt0"], "mini_tasks": ["entailment"], "mini_languages": ["x-en"], "meanings": 8}


@pytest.fixture
def packed(checkpoints, tmp_path, hub_cache, fill_hub_cache, monkeypatch):
    """A pack with the answers that the notebook asks for, made where the weights were; an empty store elsewhere."""
    fill_hub_cache(checkpoints["bloom"], "bigscience/bloomz-560m")
    here, there = Store(tmp_path / "here.sqlite"), Store(tmp_path / "there.sqlite")
    plan = make_plan(TASK["task"], TASK["languages"], data=data_path("examples/xcopa"))
    evaluate(load("bloomz-560m", store=here, device="cpu"), plan)
    evaluate(load("mini-mt0", store=here, device="cpu"), make_plan("entailment", ["x-en"], limit=8))
    export_pack(here, tmp_path / "answers.pack")
    shutil.rmtree(hub_cache)
    import_pack(there, tmp_path / "answers.pack")
    monkeypatch.setenv("WORKBENCH_STORE", str(there.path))
    monkeypatch.setenv("HF_HUB_CACHE", str(hub_cache))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


def run(folder, **change):
    values = {
        **TASK,
        **SMALL,
        "checkpoints": ["bloomz-560m"],
        "data": str(data_path("examples/xcopa")),
        **change,
    }
    return runs.run(notebook_path("04_zero_shot_evaluation.ipynb"), values, root=folder / "runs")


def test_the_notebook_runs_whole_from_a_pack_without_weights(packed):
    done = run(packed)
    facts = done.manifest["facts"]["models"]
    assert {name: fact["store_misses"] for name, fact in facts.items()} == {"bloomz-560m": 0, "mini-mt0": 0}
    assert all(fact["store_hits"] > 0 for fact in facts.values())
    figures = [json.loads(path.read_text()) for path in (done.folder / "figures").glob("*.json")]
    assert {figure["badge"] for figure in figures} == {"PUBLISHED", "MEASURED", "SYNTHETIC"}
    assert "664 reported medians" in done.manifest["answer"]


def test_the_notebook_says_which_answers_the_pack_lacks(packed):
    with pytest.raises(NotReachable, match="no answers of bloomz-560m to xcopa in zh"):
        run(packed, languages=["sw", "zh"])
