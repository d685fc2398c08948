"""The tasks that ship with a family: of each a file of rows (JSON lines) and a file of templates."""

from collections.abc import Sequence
from typing import Any

from workbench.errors import UnknownName
from workbench.family import data_files, families
from workbench.prompts import Template, read_templates
from workbench.tasks.tables import read_table
from workbench.tasks.values import expect_count


def tasks() -> list[str]:
    """List the tasks that ship with a family."""
    return sorted(path.stem for path in data_files("tasks/*.jsonl"))


def read_rows(
    task: str, languages: Sequence[str] | None = None, limit: int | None = None
) -> list[dict[str, Any]]:
    """Read a task's evaluation rows, in all languages or those asked for.

    Args:
        limit: how many meanings (clusters) to take, counted from the first.

    Raises:
        UnknownName: no such task, or a language it does not have (both list what there is).
    """
    if task not in tasks():
        raise UnknownName(f"no task called {task!r}; choose one of: {', '.join(tasks())}")
    path = data_files(f"tasks/{task}.jsonl")[0]
    rows = read_table(path, ("id", "cluster", "language"))
    return select([row.fields for row in rows], languages, limit, f"task {task!r}")


def read_sentences(languages: Sequence[str] | None = None, limit: int | None = None) -> list[dict[str, Any]]:
    """Read the families' single sentences with their meaning (for probes): id, language, text, attributes."""
    files = data_files("sentences.jsonl")
    rows = [row.fields for path in files for row in read_table(path, ("id", "language", "text"))]
    return select([{**row, "cluster": row["id"]} for row in rows], languages, limit, "the list of sentences")


def task_templates(task: str) -> list[Template]:
    """Read a task's wordings."""
    found = {path.stem: path for path in data_files("templates/*.toml")}
    if task not in found:
        raise UnknownName(f"no wordings for task {task!r}; there are some for: {', '.join(sorted(found))}")
    return read_templates(found[task])


def english_of(task: str) -> str:
    """The code of the language of a task's English wordings."""
    return next((one.languages[0] for one in families() if one.has_task(task)), "en")


def select(
    rows: list[dict[str, Any]], languages: Sequence[str] | None, limit: int | None, what: str
) -> list[dict[str, Any]]:
    """The rows of the first `limit` meanings in the languages asked for.

    Raises:
        UnknownName: a language without a row. BadInput: a limit that is no whole number above 0.
    """
    if limit is not None:
        expect_count("limit", limit)
    languages = None if languages is None else list(languages)
    there = list(dict.fromkeys(row["language"] for row in rows))
    for language in languages or []:
        if language not in there:
            raise UnknownName(f"{what} has no language {language!r}; it has: {', '.join(there)}")
    clusters = list(dict.fromkeys(row["cluster"] for row in rows))[:limit]
    kept, wanted = set(clusters), set(languages or there)
    return [row for row in rows if row["cluster"] in kept and row["language"] in wanted]
