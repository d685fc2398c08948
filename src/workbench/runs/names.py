"""Which names our notebooks' parameters may hold: tasks, languages and wordings, and models that go together.

Read from the data files with the standard library alone, since the rooms that read them whole need pandas and jinja2,
for which the start of a run does not wait. Each check raises a ValueError that says what came and what is allowed.
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
    """The wordings of a task that ships, as they stand in its file."""
    return tuple(
        one
        for path in data_files(f"templates/{task}.toml")
        for one in tomllib.loads(path.read_text(encoding="utf-8"))["template"]
    )


@cache
def tasks() -> tuple[str, ...]:
    """The tasks that ship with a family."""
    return tuple(sorted(path.stem for path in data_files("tasks/*.jsonl")))


@cache
def ranked_tasks() -> tuple[str, ...]:
    """The tasks that ship and have choices."""
    return tuple(task for task in tasks() if "answer_choices" in wordings(task)[0])


@cache
def published_tasks() -> dict[str, tuple[str, ...]]:
    """The tasks of the published evaluation and their languages."""
    text = data_path("benchmarks.toml").read_text(encoding="utf-8")
    return {table["name"]: tuple(table["languages"]) for table in tomllib.loads(text)["benchmark"]}


@cache
def languages(file: str) -> tuple[str, ...]:
    """The languages of a file of rows that ships with a family."""
    texts = [path.read_text(encoding="utf-8") for path in data_files(f"{file}.jsonl")]
    rows = [row for text in texts for row in text.strip().split("\n")]
    return tuple(dict.fromkeys(json.loads(row)["language"] for row in rows))


def expect_names(parameter: str, given: Iterable[str], known: Sequence[str]) -> None:
    """Refuse a name that is not among those known; the nearest is suggested."""
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ValueError(f"{parameter} has {name!r}; {hint}choose from: {', '.join(known)}")


def expect_languages(parameter: str, given: Iterable[str], asked: Iterable[str]) -> None:
    """Refuse a language that one of the tasks does not have."""
    for task in asked:
        expect_names(f"{parameter}, for the task {task},", given, languages(f"tasks/{task}"))


def expect_wordings(parameter: str, given: Sequence[str], asked: Iterable[str]) -> None:
    """Refuse a wording that no task has, and a task that has none of them."""
    of = {task: tuple(dict.fromkeys(one["name"] for one in wordings(task))) for task in asked}
    expect_names(parameter, given, tuple(dict.fromkeys(name for names in of.values() for name in names)))
    for task, names in of.items():
        if not set(given) & set(names):
            raise ValueError(
                f"{parameter} has none of the task {task}, which is asked too; its wordings: {', '.join(names)}"
            )
