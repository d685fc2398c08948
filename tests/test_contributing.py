"""What CONTRIBUTING.md says to do works as it stands there; each recipe is short."""

import os
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def recipe(heading, language):
    section = PAGE.split(f"## Add {heading}\n")[1].split("\n## ")[0]
    return re.search(rf"```{language}\n(.*?)```", section, re.DOTALL).group(1)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    commands = tmp_path / "bin"
    commands.mkdir()
    script = commands / "workbench"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m workbench.cli "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    monkeypatch.setenv("WORKBENCH_STORE", str(tmp_path / "store.sqlite"))
    return tmp_path


def shell(command):
    return subprocess.run(["sh", "-ec", command], capture_output=True, text=True)


@pytest.mark.parametrize(
    ("heading", "language"),
    [("a model family", "toml"), ("a task", "sh"), ("an engine", "toml"), ("a notebook", "python")],
)
def test_a_recipe_has_at_most_ten_lines(heading, language):
    assert len(recipe(heading, language).splitlines()) <= 10


def test_a_task_is_rows_and_templates(here):
    done = shell(recipe("a task", "sh"))
    assert done.returncode == 0, done.stderr
    assert "weather" in " ".join(path.name for path in (here / "runs/evaluate").iterdir())
    (here / "weather.jsonl").write_text('{"text": "It rains."}\n')  # the twin: a row without a label
    wrong = shell(recipe("a task", "sh").splitlines()[-1])
    assert wrong.returncode == 2
    assert "label" in wrong.stderr


def test_a_notebook_is_run_with_its_parameters_and_what_it_records_is_kept(here):
    subprocess.run([sys.executable, "-c", recipe("a notebook", "python")], check=True)
    done = shell("workbench run 06_mine.ipynb -p seed 3")
    assert done.returncode == 0, done.stderr
    [metrics] = here.glob("runs/06_mine/*/metrics.json")
    assert '"doubled": 6' in metrics.read_text()
    assert shell("workbench run 06_mine.ipynb -p sed 3").returncode == 2


@pytest.mark.parametrize(("heading", "group"), [("a model family", "families"), ("an engine", "engines")])
def test_what_plugs_in_is_registered_in_a_group_that_is_read(heading, group):
    [named] = tomllib.loads(recipe(heading, "toml"))["project"]["entry-points"]
    assert named == f"workbench.{group}"
    room = {"families": "workbench.family.plugins", "engines": "workbench.models.engines"}[group]
    assert f'"{named}"' in Path(import_module(room).__file__).read_text(encoding="utf-8")
