"""Notebooks 01 to 03, 06 and 07 on real data: random weights of the real classes of either side, on every source (`make soak`: all of them)."""

import json
import re
import shutil

import pandas as pd
import pytest
from test_tasks import dataset_in_cache

from workbench import runs
from workbench.errors import NotebookFailed, NotReachable
from workbench.paths import data_path, notebook_path
from workbench.studies import sensitivity

WORLD = re.compile(r"miniature|mini-|\bx-[a-z]{2}|artificial|invented")
OTHER = {"bloom": "mt5", "mt5": "bloom"}
XCOPA = data_path().parents[1] / "shared/data/xcopa"  # real rows, beside some checkouts
SOURCES = {
    "lexicon": {"languages": ["fr", "de"], "limit": 12},
    "parallel": {"source": "parallel", "languages": ["en", "fr", "sw"], "limit": 12},
    "xnli": {"source": str(data_path("examples/xnli")), "limit": 8},
    "published": {"source": "published", "languages": ["sw", "zh"], "limit": 100},
    "folder": {"source": "pets", "limit": 12},
}
IN_EVERY_TEST = [
    ("01", "lexicon", "mt5"),
    ("02", "folder", "bloom"),
    ("03", "xnli", "bloom"),
    ("06", "lexicon", "bloom"),
    ("07", "lexicon", "bloom"),
]
EVERY = [
    pytest.param(
        number, source, side, marks=[] if (number, source, side) in IN_EVERY_TEST else pytest.mark.soak
    )
    for number in ("01", "02", "03", "06", "07")
    for source in (SOURCES if number != "06" else ["lexicon"])
    for side in OTHER
]


@pytest.fixture
def ask(checkpoints, service, forked_runs, tmp_path, monkeypatch):
    """Run a notebook, and return its run; parameters that name "bloom" or "mt5" get the random checkpoint."""
    monkeypatch.setenv("WORKBENCH_SERVICE", service)
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
    """A folder with sixty meanings in three languages, a cat or a dog with a number, and wordings that ask which."""
    names = {
        "cat": {"en": "cat", "fr": "chat", "sw": "paka"},
        "dog": {"en": "dog", "fr": "chien", "sw": "mbwa"},
    }
    rows = [
        {
            "text": f"{named[code]} {number}",
            "language": code,
            "cluster": str(number),
            "animal": animal,
            "label": number % 2,
        }
        for number, (animal, named) in enumerate(list(names.items()) * 30)
        for code in named
    ]
    (tmp_path / "pets").mkdir()
    (tmp_path / "pets/all.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    wordings = (
        f"[[template]]\nname = '{name}'\nlanguage = 'en'\njinja = '{{{{text}}}}{ask} ||| {{{{answer_choices[label]}}}}'\n"
        "answer_choices = 'cat ||| dog'\n"
        for name, ask in {"ask": " Which animal is it?", "word": " (animal):"}.items()
    )
    (tmp_path / "pets.toml").write_text("".join(wordings), encoding="utf-8")
    return tmp_path / "pets"


@pytest.fixture
def xcopa_in_cache(tmp_path, monkeypatch):
    """The hub's cache with rows of XCOPA: the real ones where they are, else our few."""
    rows = XCOPA if XCOPA.is_dir() else data_path("examples/xcopa")
    tables = {
        f"{code}/validation/0.parquet": pd.read_json(rows / f"val.{code}.jsonl", lines=True)
        for code in ("sw", "zh")
    }
    dataset_in_cache(tmp_path / "hub", "cambridgeltl/xcopa", "refs/convert/parquet", tables)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def expect_chance(ranked):
    """Every cell's interval covers chance, but for the few that 95 % intervals miss."""
    cells = sensitivity.accuracies(ranked, by=["task", "template", "language"])
    covered = (cells["low"] <= cells["chance"]) & (cells["chance"] <= cells["high"])
    assert covered.mean() >= 0.93


def values_of(number, source, side, checkpoints, pets):
    """Return the parameters with which a notebook asks a side of the family on a source."""
    values = {"device": "cpu", **SOURCES[source]}
    if source == "folder":
        values |= {"source": str(pets)}
        values |= (
            {"attribute": "animal"} if number == "03" else {"tasks": ["pets"], "templates": f"{pets}.toml"}
        )
    if number == "03":
        return {**values, "model": side, "limit": 30, "folds": 2}
    if number == "06":
        few = {"limit": 1, "lens_questions_per_pair": 8, "patch_pairs": 4, "layers": 2}
        return {"device": "cpu", **few, "model": side, "base": "", "encoder_decoder": OTHER[side]}
    if number == "07":
        return {**values, "model": side, "bits": [4], "noise_seeds": 1}
    if number == "02":  # a twin of the other architecture's checkpoint stands for the base
        return {**values, "models": [str(checkpoints[side])], "bases": [str(checkpoints[OTHER[side]])]}
    return {**values, "model": side, "partner_model": OTHER[side], "open_limit": 8}


@pytest.mark.parametrize(("number", "source", "side"), EVERY)
def test_every_notebook_asks_random_checkpoints_on_real_data(
    request, ask, checkpoints, pets, number, source, side
):
    if source == "published":
        request.getfixturevalue("xcopa_in_cache")
    done = ask(number, values_of(number, source, side, checkpoints, pets))
    assert badges(done) <= {"PUBLISHED", "MEASURED"}
    assert "MEASURED" in badges(done)
    said = said_in(done)
    assert not WORLD.search(said)
    assert str(checkpoints["bloom"].parent) not in said
    if number == "01":
        expect_chance(pd.read_parquet(done.folder / "ranked.parquet"))
    if number == "02":
        answers = pd.read_parquet(done.folder / "answers.parquet")
        choices = [["?"] * round(1 / chance) for chance in answers["chance"]]
        for who in ("base", "finetuned"):
            expect_chance(answers.assign(correct=answers[who] == 1, choices=choices))


def test_probing_reads_both_sides_beside_each_other_and_refuses_one_side_twice(ask, checkpoints, tmp_path):
    both = {
        "model": "mt5",
        "encoder_decoder": "bloom",
        "languages": ["en", "fr"],
        "limit": 30,
        "folds": 2,
        "device": "cpu",
    }
    done = ask("03", both)
    assert badges(done) == {"MEASURED"}
    assert set(done.manifest["digests"]) == {str(checkpoints["bloom"]), str(checkpoints["mt5"])}
    assert all(fact["store_misses"] > 0 for fact in done.manifest["facts"]["models"].values())
    assert "MEASURED" in done.manifest["answer"]
    assert "from CLDR" in done.manifest["answer"]
    assert all(f"{reader} " in done.manifest["answer"] for reader in ("encoder", "decoder-only"))
    twin = shutil.copytree(checkpoints["mt5"], tmp_path / "twin")
    with pytest.raises(NotebookFailed, match="have one architecture: name one"):
        ask("03", {**both, "encoder_decoder": str(twin)})


def test_an_artificial_world_is_synthetic_whoever_answers_in_it(ask):
    done = ask(
        "01",
        {
            "model": "bloom",
            "source": "miniature",
            "tasks": ["sentiment"],
            "limit": 8,
            "open_limit": 8,
            "device": "cpu",
        },
    )
    assert badges(done) == {"PUBLISHED", "SYNTHETIC"}


def test_weights_that_are_not_here_are_named_with_what_fetches_them(ask, hub_cache, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(hub_cache))
    with pytest.raises(NotReachable, match="workbench fetch bloomz-560m"):
        ask("01", {"model": "bloomz-560m", "limit": 8})


@pytest.mark.parametrize(("languages", "left_out"), [(["fr", "de", "sw"], "de"), (["fr", "sw"], "none")])
def test_the_groups_of_languages_are_those_of_the_table_and_one_may_be_empty(
    ask, checkpoints, tmp_path, languages, left_out
):
    english = shutil.copytree(checkpoints["bloom"], tmp_path / "english")
    models = {
        "models": [str(checkpoints["bloom"])],
        "bases": [str(checkpoints["mt5"])],
        "english_models": [str(english)],
    }
    done = ask("02", {**models, "languages": languages, "tasks": ["words"], "limit": 12, "device": "cpu"})
    assert f"left out: {left_out}." in said_in(done)
