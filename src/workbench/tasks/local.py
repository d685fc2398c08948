"""Tasks that ship with a family, each a file of rows (JSON lines) and a file of templates."""

from collections.abc import Sequence
from typing import Any

from workbench.errors import UnknownName
from workbench.family import data_files, families
from workbench.prompts import Template, read_templates
from workbench.tasks.tables import read_table
from workbench.tasks.values import expect_count


def tasks() -> list[str]:
    """Return the names of the tasks that ship with a family."""
    return sorted(path.stem for path in data_files("tasks/*.jsonl"))


def read_rows(
    task: str, languages: Sequence[str] | None = None, limit: int | None = None
) -> list[dict[str, Any]]:
    """Return a task's evaluation rows, in the requested languages or in all.

    Args:
        limit: number of meanings (clusters), from the first.

    Raises:
        UnknownName: no such task, or a language it does not have (the message lists the available ones).
        BadInput: as `select`, or rows that cannot be read.
    """
    if task not in tasks():
        raise UnknownName(f"no task called {task!r}; choose one of: {', '.join(tasks())}")
    path = data_files(f"tasks/{task}.jsonl")[0]
    rows = read_table(path, ("id", "cluster", "language"))
    return select([row.fields for row in rows], languages, limit, f"task {task!r}")


def read_sentences(languages: Sequence[str] | None = None, limit: int | None = None) -> list[dict[str, Any]]:
    """Return the families' annotated single sentences, for probes: id, language, text, attributes."""
    files = data_files("sentences.jsonl")
    rows = [row.fields for path in files for row in read_table(path, ("id", "language", "text"))]
    return select([{**row, "cluster": row["id"]} for row in rows], languages, limit, "the list of sentences")


def task_templates(task: str) -> list[Template]:
    """Return a task's templates.

    Raises:
        UnknownName: the task has none; the message lists the tasks that have some.
    """
    found = {path.stem: path for path in data_files("templates/*.toml")}
    if task not in found:
        raise UnknownName(f"no wordings for task {task!r}; there are some for: {', '.join(sorted(found))}")
    return read_templates(found[task])


def english_of(task: str) -> str:
    """Return the language code of a task's English templates."""
    return next((one.languages[0] for one in families() if one.has_task(task)), "en")


def select(
    rows: list[dict[str, Any]], languages: Sequence[str] | None, limit: int | None, what: str
) -> list[dict[str, Any]]:
    """Return the rows of the first `limit` meanings in the requested languages.

    Raises:
        UnknownName: a language without rows.
        BadInput: a limit that is not an integer above 0.
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
