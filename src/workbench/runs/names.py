"""The names that parameters of our notebooks may hold: tasks, languages and templates.

They are read from the data files with the standard library alone, since the modules that read them in full import pandas
and jinja2, which would delay the start of a run. Each check raises a ValueError with the value and the allowed ones.
"""

import json
import tomllib
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any

from workbench.family import data_files
from workbench.paths import data_path


@cache
def wordings(task: str) -> tuple[dict[str, Any], ...]:
    """Return the templates of a shipped task as they are in its file."""
    return tuple(
        one
        for path in data_files(f"templates/{task}.toml")
        for one in tomllib.loads(path.read_text(encoding="utf-8"))["template"]
    )


@cache
def tasks() -> tuple[str, ...]:
    """Return the tasks that ship with a family."""
    return tuple(sorted(path.stem for path in data_files("tasks/*.jsonl")))


@cache
def ranked_tasks() -> tuple[str, ...]:
    """Return the shipped tasks that have answer choices."""
    return tuple(task for task in tasks() if "answer_choices" in wordings(task)[0])


@cache
def published_tasks() -> dict[str, tuple[str, ...]]:
    """Return the tasks of the published evaluation with their languages."""
    text = data_path("benchmarks.toml").read_text(encoding="utf-8")
    return {table["name"]: tuple(table["languages"]) for table in tomllib.loads(text)["benchmark"]}


@cache
def languages(file: str) -> tuple[str, ...]:
    """Return the languages in a file of rows that ships with a family."""
    texts = [path.read_text(encoding="utf-8") for path in data_files(f"{file}.jsonl")]
    rows = [row for text in texts for row in text.strip().split("\n")]
    return tuple(dict.fromkeys(json.loads(row)["language"] for row in rows))


def expect_names(parameter: str, given: Iterable[str], known: Sequence[str]) -> None:
    """Raise ValueError for a name that is not known, and suggest the nearest."""
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ValueError(f"{parameter} has {name!r}; {hint}choose from: {', '.join(known)}")


def expect_languages(parameter: str, given: Iterable[str], asked: Iterable[str]) -> None:
    """Raise ValueError for a language that one of the tasks lacks."""
    for task in asked:
        expect_names(f"{parameter}, for the task {task},", given, languages(f"tasks/{task}"))


def expect_wordings(parameter: str, given: Sequence[str], asked: Iterable[str]) -> None:
    """Raise ValueError for a template that no task has, or for a task that has none of the templates."""
    of = {task: tuple(dict.fromkeys(one["name"] for one in wordings(task))) for task in asked}
    expect_names(parameter, given, tuple(dict.fromkeys(name for names in of.values() for name in names)))
    for task, names in of.items():
        if not set(given) & set(names):
            raise ValueError(
                f"{parameter} has none of the task {task}, which is asked too; its wordings: {', '.join(names)}"
            )
