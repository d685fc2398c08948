"""Tasks whose data are here: those of families, of words from CLDR (`lexicon/…`), and of our own sentences (`parallel/…`)."""

from collections.abc import Sequence
from typing import Any

from workbench.errors import UnknownName
from workbench.family import Family, data_files, families
from workbench.paths import data_path
from workbench.prompts import Template, read_templates
from workbench.tasks import lexicon, parallel
from workbench.tasks.selection import select
from workbench.tasks.tables import read_table

_WORDINGS = {
    **lexicon.TASKS,
    **parallel.TASKS,
}  # the file of templates of each task that belongs to no family


def tasks() -> list[str]:
    """Return the names of the tasks that ship with a family."""
    return sorted(path.stem for path in data_files("tasks/*.jsonl"))


def offline_tasks() -> list[str]:
    """Return the names of all tasks whose data need no network: those of families, of the lexicon, and of the parallel sentences."""
    return [*tasks(), *sorted(_WORDINGS)]


def read_rows(
    task: str,
    languages: Sequence[str] | None = None,
    limit: int | None = None,
    *,
    seed: int = 0,
    shared: bool = False,
) -> list[dict[str, Any]]:
    """Return a task's evaluation rows, in the requested languages or in all.

    Args:
        task: One of `offline_tasks()`.
        limit: number of meanings (clusters), from the first; of the lexicon, whose languages lack different names, per language.
        seed: of the lexicon: which choices stand beside the right one, and which meanings come first.
        shared: of the lexicon: only names that all these languages have.

    Raises:
        UnknownName: no such task, or a language it does not have (the message lists the available ones).
        BadInput: as `select`, or rows that cannot be read.
    """
    if task not in offline_tasks():
        raise UnknownName(f"no task called {task!r}; choose one of: {', '.join(offline_tasks())}")
    if task in lexicon.TASKS:
        return lexicon.rows(task, languages, limit, seed, shared=shared)
    if task in parallel.TASKS:
        return parallel.rows(task, languages, limit)
    path = data_files(f"tasks/{task}.jsonl")[0]
    rows = read_table(path, ("id", "cluster", "language"))
    return select([row.fields for row in rows], languages, limit, f"task {task!r}")


def read_sentences(
    languages: Sequence[str] | None = None, limit: int | None = None, *, family: Family | None = None
) -> list[dict[str, Any]]:
    """Return annotated single sentences, for probes: id, language, text, attributes; of one family or of all."""
    files = [path for path in data_files("sentences.jsonl") if family is None or path.parent == family.data]
    rows = [row.fields for path in files for row in read_table(path, ("id", "language", "text"))]
    return select([{**row, "cluster": row["id"]} for row in rows], languages, limit, "the list of sentences")


def task_templates(task: str) -> list[Template]:
    """Return a task's templates.

    Raises:
        UnknownName: the task has none; the message lists the tasks that have some.
    """
    found = {path.stem: path for path in data_files("templates/*.toml")}
    found |= {name: data_path(f"templates/{file}.toml") for name, file in _WORDINGS.items()}
    if task not in found:
        raise UnknownName(f"no wordings for task {task!r}; there are some for: {', '.join(sorted(found))}")
    return read_templates(found[task])


def english_of(task: str) -> str:
    """Return the language code of a task's English templates."""
    return next((one.languages[0] for one in families() if one.has_task(task)), "en")
