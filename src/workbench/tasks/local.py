"""The miniature family's tasks: of each a file of rows (JSON lines) and a file of templates."""

from collections.abc import Sequence
from typing import Any

from workbench.errors import UnknownName
from workbench.paths import data_path
from workbench.prompts import Template, read_templates
from workbench.tasks.tables import read_table
from workbench.tasks.values import expect_count


def tasks() -> list[str]:
    """List the tasks that ship with the package."""
    return sorted(path.stem for path in data_path("mini/tasks").glob("*.jsonl"))


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
    rows = read_table(data_path(f"mini/tasks/{task}.jsonl"), ("id", "cluster", "language"))
    return select([row.fields for row in rows], languages, limit, f"task {task!r}")


def read_sentences(languages: Sequence[str] | None = None, limit: int | None = None) -> list[dict[str, Any]]:
    """Read the miniature world's single sentences with their meaning (for probes): id, language, text, attributes."""
    rows = read_table(data_path("mini/sentences.jsonl"), ("id", "language", "text"))
    return select(
        [{**row.fields, "cluster": row.fields["id"]} for row in rows],
        languages,
        limit,
        "the list of sentences",
    )


def task_templates(task: str) -> list[Template]:
    """Read a task's wordings."""
    path = data_path(f"mini/templates/{task}.toml")
    if not path.exists():
        known = sorted(found.stem for found in path.parent.glob("*.toml"))
        raise UnknownName(f"no wordings for task {task!r}; there are some for: {', '.join(known)}")
    return read_templates(path)


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
