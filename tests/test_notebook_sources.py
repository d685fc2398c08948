"""Notebooks 01 to 03 on real data: random weights of the real classes, on the lexicon and on rows of one's own."""

import json
import re

import pytest

from workbench import runs
from workbench.paths import data_path, notebook_path
from workbench.runs.notebooks import find_notebook

WORLD = re.compile(r"miniature|mini-|\bx-[a-z]{2}|artificial|invented")
TEXTS = ("The cat sleeps.", "Le chat dort.", "Paka amelala."), ("en", "fr", "sw")
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
    """Return the text and outputs of an executed notebook but for the defaults of its parameters."""
    cells = json.loads((run.folder / "notebook.ipynb").read_text(encoding="utf-8"))["cells"]
    shown = [cell for cell in cells if "parameters" not in cell["metadata"].get("tags", [])]
    return json.dumps(shown, ensure_ascii=False)


def badges(run):
    return {json.loads(path.read_text())["badge"] for path in (run.folder / "figures").glob("*.json")}


def own_texts(folder):
    """Sixty meanings in three languages: a cat or a dog, somewhere."""
    rows = [
        {"text": f"{animal[code]} {number}", "language": code, "cluster": str(number), "animal": kind}
        for number in range(60)
        for kind, animal in [
            ("cat", {"en": "cat", "fr": "chat", "sw": "paka"}),
            ("dog", {"en": "dog", "fr": "chien", "sw": "mbwa"}),
        ][number % 2 : number % 2 + 1]
        for code in ("en", "fr", "sw")
    ]
    path = folder / "pets.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return str(path)


def test_probing_asks_random_checkpoints_about_real_words(ask):
    done = ask("03", {"model": "bloom", "encoder_decoder": "mt5", "languages": ["en", "fr", "sw"], **PROBE})
    assert badges(done) == {"MEASURED"}
    assert not WORLD.search(said_in(done))
    assert "from CLDR" in done.manifest["answer"]
