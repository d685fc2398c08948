"""A second family is one file: installed as a distribution of its own, it is listed, found, loaded and badged."""

import importlib
import json
import os
import subprocess
import sys
import warnings
import zipfile

import pytest
from hatchling.build import build_wheel

from workbench import family
from workbench.errors import BadInput, UnknownName
from workbench.models import load
from workbench.tasks import read_rows, read_sentences, task_templates, tasks

# Facts from the model card of CohereForAI/aya-101 and from arXiv 2402.07827: an mT5 of 13 billion parameters, finetuned
# from mt5-xxl, whose sizes it therefore has, on xP3x, the Aya collection and others; Apache 2.0.
AYA = '''"""Aya-101 as a family of its own."""

from dataclasses import replace
from pathlib import Path

from workbench.family import Family, checkpoints

SOURCE = "model card of CohereForAI/aya-101; arXiv 2402.07827; sizes of mt5-xxl, from which it is finetuned"


def family() -> Family:
    """Aya-101."""
    base = next(one for one in checkpoints() if one.name == "mt5-xxl")
    aya = replace(
        base, name="aya-101", hub_id="CohereForAI/aya-101", parent="mt5-xxl", mixture="xP3x, Aya and others",
        prompt_language="101 languages", revision=None, source=SOURCE,
    )
    return Family("Aya", (aya,), languages=("eng",), data=Path(__file__).parent / "aya_data", check_prompts=check)


def check(prompts: list[str]) -> str | None:
    """Prompts in capitals are refused, to have something that a test sees."""
    return "it was not asked politely" if any(prompt.isupper() for prompt in prompts) else None
'''
PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "{name}-family"
version = "0.1"
[project.entry-points."workbench.families"]
{name} = "{name}:family"
[tool.hatch.build.targets.wheel]
include = ["*.py", "aya_data"]
"""
TEMPLATES = '[[template]]\nname = "ask"\nlanguage = "eng"\njinja = "{{ text }} True or false?"\nanswer_choices = "yes ||| no"\n'


def install(root, name, files, monkeypatch):
    """Build a wheel of some files and unpack it into a folder on the path, as an installer does."""
    project, site = root / name, root / "site"
    for path, text in {"pyproject.toml": PROJECT.format(name=name), **files}.items():
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_text(text, encoding="utf-8")
    monkeypatch.chdir(project)
    with zipfile.ZipFile(root / build_wheel(str(root))) as wheel:
        wheel.extractall(site)
    return site


@pytest.fixture
def fresh_registry():
    caches = (family.families, family.vocabulary)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


@pytest.fixture
def aya(tmp_path, monkeypatch, fresh_registry):
    """Aya-101, installed."""
    row = {"id": "q-0", "cluster": "q-0", "language": "eng", "text": "Water is wet.", "label": 0}
    files = {
        "aya.py": AYA,
        "aya_data/tasks/riddle.jsonl": json.dumps(row) + "\n",
        "aya_data/templates/riddle.toml": TEMPLATES,
        "aya_data/sentences.jsonl": json.dumps({"id": "s-0", "language": "eng", "text": "Wet."}) + "\n",
    }
    site = install(tmp_path, "aya", files, monkeypatch)
    monkeypatch.syspath_prepend(site)
    yield site
    sys.modules.pop("aya", None)
    importlib.invalidate_caches()


def test_a_second_family_is_listed_by_the_command(aya):
    path = os.pathsep.join([str(aya), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "workbench.cli", "models", "--json"]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, check=True
    )
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert set(rows) == {one.name for one in family.checkpoints()} | {*family.shipped(), "aya-101"}
    assert (rows["aya-101"]["side"], rows["aya-101"]["parameters"]) == ("mT5", "12,921,057,280")


def test_it_is_found_by_both_names_and_suggested_for_a_wrong_one(aya):
    assert family.find("aya-101") is family.find("CohereForAI/aya-101")
    with pytest.raises(UnknownName, match="nearest: aya-101"):
        load("aya-102")


def test_twin_without_the_distribution_it_is_not(fresh_registry):
    with pytest.raises(UnknownName, match="no checkpoint called 'aya-101'"):
        load("aya-101")


def test_it_is_loaded_from_the_hubs_cache_and_warns_and_is_badged(
    aya, checkpoints, store, tmp_path, monkeypatch
):
    """A small random mT5 stands in for the weights, which nothing of this reads."""
    repository = tmp_path / "hub/models--CohereForAI--aya-101"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/main").write_text("c0ffee")
    (repository / "snapshots").mkdir()
    (repository / "snapshots/c0ffee").symlink_to(checkpoints["mt5"])
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    handle = load("aya-101", store=store)
    assert (handle.architecture, handle.is_encoder_decoder, handle.badge) == ("mt5", True, "MEASURED")
    assert (handle.identity.hub_id, handle.identity.commit) == ("CohereForAI/aya-101", "c0ffee")
    with pytest.warns(UserWarning, match="aya-101: it was not asked politely"):
        handle.check_prompts(["IS IT TRUE?"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        handle.check_prompts(["Is it true?"])
    with pytest.raises(BadInput, match="mini-bloomz with aya-101: SYNTHETIC results never share"):
        family.shared_badge(["aya-101", "mini-bloomz"])


def test_its_tasks_are_tasks_like_all_others(aya):
    assert "riddle" in tasks()
    assert [row["text"] for row in read_rows("riddle")] == ["Water is wet."]
    assert [one.name for one in task_templates("riddle")] == ["ask"]
    assert [row["text"] for row in read_sentences(["eng"])] == ["Wet."]


@pytest.mark.parametrize("text", ["import nothing_of_that_name", "def another(): ..."])
def test_a_family_that_cannot_be_imported_is_a_warning_and_breaks_no_other(
    text, tmp_path, monkeypatch, fresh_registry
):
    monkeypatch.syspath_prepend(install(tmp_path, "broken", {"broken.py": text}, monkeypatch))
    with pytest.warns(
        UserWarning, match=r"'broken:family'.* cannot be imported: .*reinstall its package or remove"
    ):
        assert [one.name for one in family.families()] == ["BLOOMZ & mT0", "miniatures"]
    sys.modules.pop("broken", None)
