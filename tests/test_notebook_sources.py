"""Notebooks 01 to 03 on real data: random weights of the real classes, on the lexicon and on rows of one's own."""

import json
import re
import shutil

import pandas as pd
import pytest

from workbench import runs
from workbench.errors import NotReachable
from workbench.paths import data_path, notebook_path
from workbench.studies import sensitivity

WORLD = re.compile(r"miniature|mini-|\bx-[a-z]{2}|artificial|invented")
BOTH = {"model": "bloom", "encoder_decoder": "mt5"}
PROBE = {"limit": 30, "folds": 2, "device": "cpu"}


@pytest.fixture
def ask(checkpoints, tmp_path, monkeypatch):
    """Run a notebook, and return its run; parameters that name "bloom" or "mt5" get the random checkpoint."""
    monkeypatch.setenv("WORKBENCH_STORE", str(tmp_path / "store.sqlite"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def run(number, values):
        named = {
            name: str(checkpoints.get(value, value)) if isinstance(value, str) else value
            for name, value in values.items()
        }
        (path,) = notebook_path().glob(f"{number}_*.ipynb")
        return runs.run(path, named, root=tmp_path / "runs")

    return run


def said_in(run):
    """Return the prose and the outputs of an executed notebook."""
    cells = json.loads((run.folder / "notebook.ipynb").read_text(encoding="utf-8"))["cells"]
    return json.dumps(
        [cell["outputs"] if cell["cell_type"] == "code" else cell["source"] for cell in cells],
        ensure_ascii=False,
    )


def badges(run):
    return {json.loads(path.read_text())["badge"] for path in (run.folder / "figures").glob("*.json")}


@pytest.fixture
def pets(tmp_path):
    """A file with sixty meanings in three languages: a cat or a dog, with a number."""
    names = {
        "cat": {"en": "cat", "fr": "chat", "sw": "paka"},
        "dog": {"en": "dog", "fr": "chien", "sw": "mbwa"},
    }
    rows = [
        {"text": f"{named[code]} {number}", "language": code, "cluster": str(number), "animal": animal}
        for number, (animal, named) in enumerate(list(names.items()) * 30)
        for code in named
    ]
    path = tmp_path / "pets.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return str(path)


def expect_chance(ranked):
    """Every cell's interval covers chance, but for the few that 95 % intervals miss.

    A limit cuts the sets of choices of `words`, and a model that ignores the prompt is then lucky in all wordings at once.
    """
    ranked = ranked[ranked["task"] != "lexicon/words"]
    cells = sensitivity.accuracies(ranked, by=["task", "template", "language"])
    covered = (cells["low"] <= cells["chance"]) & (cells["chance"] <= cells["high"])
    assert covered.mean() >= 0.85


def test_probing_asks_random_checkpoints_about_real_words(ask):
    done = ask("03", {**BOTH, "languages": ["en", "fr", "sw"], **PROBE})
    assert badges(done) == {"MEASURED"}
    assert not WORLD.search(said_in(done))
    assert "from CLDR" in done.manifest["answer"]


def test_probing_reads_texts_of_ones_own(ask, pets):
    done = ask("03", {**BOTH, "source": pets, "attribute": "animal", **PROBE})
    assert badges(done) == {"MEASURED"}
    assert not WORLD.search(said_in(done))
    assert "pets.jsonl" in done.manifest["answer"]


@pytest.mark.parametrize("side", ["bloom", "mt5"])
@pytest.mark.parametrize(
    "values",
    [
        {"languages": ["fr", "de"], "tasks": ["words", "months", "weekdays"], "limit": 12},
        {"source": str(data_path("examples/xnli")), "tasks": ["xnli"], "limit": 8},
    ],
)
def test_sensitivity_asks_random_checkpoints_on_real_data(ask, side, values):
    done = ask("01", {"model": side, "device": "cpu", "protocol": f"xmtf-{side}", **values})
    assert badges(done) == {"PUBLISHED", "MEASURED"}
    assert not WORLD.search(said_in(done))
    expect_chance(pd.read_parquet(done.folder / "ranked.parquet"))


def test_an_artificial_world_is_synthetic_whoever_answers_in_it(ask):
    done = ask(
        "01", {"model": "bloom", "source": "miniature", "tasks": ["sentiment"], "limit": 8, "device": "cpu"}
    )
    assert badges(done) == {"PUBLISHED", "SYNTHETIC"}


def test_weights_that_are_not_here_are_named_with_what_fetches_them(ask, hub_cache, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(hub_cache))
    with pytest.raises(NotReachable, match="workbench fetch bloomz-560m"):
        ask("01", {"model": "bloomz-560m", "limit": 8})


@pytest.mark.parametrize(
    ("values", "left_out"),
    [
        ({"languages": ["fr", "de", "sw"], "tasks": ["words", "months"], "limit": 12}, "de"),
        ({"source": str(data_path("examples/xnli")), "tasks": ["xnli"], "limit": 8}, "none"),
    ],
)
def test_transfer_asks_random_checkpoints_on_real_data(ask, checkpoints, tmp_path, values, left_out):
    """The groups of languages are those of `languages.csv`; a group may be empty."""
    other = shutil.copytree(checkpoints["bloom"], tmp_path / "english")
    models = {"models": [str(checkpoints["bloom"])], "bases": [str(checkpoints["mt5"])]}
    done = ask(
        "02", {**models, "english_models": [str(other)], "native_models": [], "device": "cpu", **values}
    )
    assert badges(done) == {"PUBLISHED", "MEASURED"}
    said = said_in(done)
    assert not WORLD.search(said)
    assert f"left out: {left_out}." in said
    answers = pd.read_parquet(done.folder / "answers.parquet")
    for side in ("base", "finetuned"):
        expect_chance(
            answers.assign(
                correct=answers[side] == 1, choices=[["?"] * round(1 / c) for c in answers["chance"]]
            )
        )
