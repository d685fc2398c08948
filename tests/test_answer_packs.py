"""An answer pack: the runs of a preset give the same from its answers alone, where neither store nor weights are."""

import json
import shutil
from pathlib import Path

import pytest
from nbformat import v4

from workbench.errors import BadInput, NotReachable, UnknownName
from workbench.family import find
from workbench.runs import find_cases, read_preset, run, verify
from workbench.runs.answer_packs import answers_in
from workbench.runs.packing import make_pack
from workbench.store import Store
from workbench.store.packs import import_pack

PRESET = """about = "Two small models."
[run.asking]
model = "bloomz-560m"
others = ["mt0-small"]
seed = 3
"""
PARAMETERS = """from workbench.runs import Model
model: Model = "mini-bloomz"
others: list[Model] = []
seed: int = 0
"""
CODE = """from workbench import generate, load, rank, record
from workbench.tasks import read_data
items = read_data("parallel/topic", "parallel", languages=["fr"], limit=3).items()
tables = [rank(load(name, device="cpu"), items, protocol="per-token") for name in (model, *others)]
record(margin=float(sum(table["margin"].mean() for table in tables)), seed=seed)
"""


@pytest.fixture
def place(tmp_path, hub_cache, checkpoints, fill_hub_cache, monkeypatch):
    """A folder with a notebook and a preset, two checkpoints in the hub's cache, and a store."""
    for name in ("bloomz-560m", "mt0-small"):
        one = find(name)
        fill_hub_cache(checkpoints[one.architecture], one.hub_id)
    here = tmp_path / "here"
    here.mkdir()
    first = v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})
    (here / "asking.ipynb").write_text(nbformat_text(first, v4.new_code_cell(CODE)))
    (here / "small.toml").write_text(PRESET)
    monkeypatch.chdir(here)
    for name, value in (
        ("HF_HUB_CACHE", hub_cache),
        ("HF_HUB_OFFLINE", "1"),
        ("WORKBENCH_STORE", tmp_path / "mine.sqlite"),
    ):
        monkeypatch.setenv(name, str(value))
    return here


def nbformat_text(*cells):
    return v4.writes(v4.new_notebook(cells=list(cells)))


def test_with_a_pack_alone_that_was_stopped_once_the_same_runs_give_the_same(
    place, hub_cache, tmp_path, the_package_stands_still
):
    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_pack("small.toml", place / "pack", note="Random weights.", watch=stop)
    made = make_pack("small.toml", place / "pack", note="Random weights.")
    assert made.runs[0].reused
    assert {path.relative_to(made.folder).as_posix() for path in made.folder.rglob("*") if path.is_file()} == {
        "README.md", "SHA256SUMS", "answers.sqlite", "expected/asking/small.json", "preset.toml",
        "runs/asking/metrics.json", "runs/asking/report.html", "runs/asking/run.json",
    }  # fmt: skip
    readme = (made.folder / "README.md").read_text()
    assert "**Random weights.**" in readme
    assert "bigscience/mt0-small" in readme
    assert str(tmp_path) not in readme + (made.folder / "runs/asking/run.json").read_text()
    assert read_preset(str(made.folder / "preset.toml")).run == read_preset("small.toml").run
    assert Store().info({})["answers"] == 0  # of our own nothing was asked, and nothing is in it

    shutil.rmtree(hub_cache)
    shutil.move(made.folder, place / "elsewhere")
    cases = find_cases("elsewhere")
    assert [case.name for case in cases] == ["asking/small"]
    [verdict] = verify(cases, answers=place / "elsewhere")
    assert verdict.is_as_expected, verdict
    values = read_preset("elsewhere/preset.toml").values(Path("asking.ipynb"))
    with pytest.raises(NotReachable, match=r"not in the store|neither on this machine"):
        run("asking.ipynb", values, root=place / "runs")
    import_pack(Store(), answers_in(place / "elsewhere"))
    done = run("asking.ipynb", values, root=place / "runs")
    assert done.metrics == json.loads((place / "elsewhere/runs/asking/metrics.json").read_text())
    with (place / "elsewhere/preset.toml").open("a") as file:
        file.write("\n")
    with pytest.raises(BadInput, match=r"damaged: preset\.toml"):
        answers_in(place / "elsewhere")


@pytest.mark.parametrize(
    ("preset", "models", "match"),
    [
        ("sizes", [], "is a sweep"),
        ("none", [], "no preset"),
        ("small.toml", ["bloomz-1b"], "bloomz-1b"),
        ("small.toml", ["bloomz-1b1", "bloomz-3b"], "one checkpoint of each side"),
        ("gpu", ["bloomz-560m"], "bloomz-560m has no such version"),
        ("folder.toml", [], "is a folder of this machine|is a path of this machine"),
        ("small.toml", [], "exists"),
    ],
)
def test_what_cannot_be_packed_is_refused_before_anything_runs(preset, models, match, place, checkpoints):
    text = PRESET.replace("bloomz-560m", str(checkpoints["bloom"]))
    (place / "folder.toml").write_text(text)
    (place / "there").mkdir()
    with pytest.raises((BadInput, UnknownName), match=match):
        make_pack(preset, place / ("there" if match == "exists" else "pack"), models=models)
    assert sorted(path.name for path in place.iterdir()) == [
        "asking.ipynb",
        "folder.toml",
        "small.toml",
        "there",
    ]


def test_other_checkpoints_bring_their_bases_and_their_versions_of_the_mixtures():
    laptop = read_preset("laptop").with_models(["bloomz-1b1", "mt0-base"]).run["02_language_transfer"]
    assert (laptop["models"], laptop["bases"]) == (["bloomz-1b1", "mt0-base"], ["bloom-1b1", "mt5-base"])
    gpu = read_preset("gpu").with_models(["bloomz"]).run["02_language_transfer"]
    assert (gpu["native_models"], gpu["bases"]) == (["bloomz-mt", "mt0-xxl-mt"], ["bloom", "mt5-xxl"])
    assert read_preset("gpu").with_models([]) == read_preset("gpu")
