"""A data set becomes items: prompt, choices, gold answer, language.

A task is a file of rows (JSON lines) and a file of templates; the miniature family's tasks ship with the package.
`limit` counts meanings, so that every language gets the same ones.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.errors import BadInput, UnknownName
from workbench.records import data_path
from workbench.templates import Template, read_templates, render


@dataclass(frozen=True)
class Item:
    """One prompt to be answered.

    `cluster` is the id of the meaning, shared by the same item in other languages and wordings; `gold` is the
    index of the right choice (None for tasks without choices); `target` is the right answer as text.
    """

    id: str
    prompt: str
    choices: tuple[str, ...] = ()
    gold: int | None = None
    language: str = ""
    task: str = ""
    template: str = ""
    cluster: str = ""
    target: str = ""


def tasks(folder: Path | None = None) -> list[str]:
    """List the tasks that ship with the package (or lie in `folder`)."""
    return sorted(path.stem for path in (folder or data_path("mini/tasks")).glob("*.jsonl"))


def read_rows(
    task: str, languages: Sequence[str] | None = None, limit: int | None = None, folder: Path | None = None
) -> list[dict[str, Any]]:
    """Read a task's evaluation rows, in all languages or those asked for.

    Args:
        limit: how many meanings (clusters) to take, counted from the first.
        folder: where `<task>.jsonl` lies; the miniature family's tasks by default.

    Raises:
        UnknownName: no such task, or a language it does not have (both list what there is).
        BadInput: a broken line, or a row without id, cluster or language; the message names file and line.
    """
    known = tasks(folder)
    if task not in known:
        raise UnknownName(f"no task called {task!r}; choose one of: {', '.join(known) or 'none found'}")
    rows = _read_lines((folder or data_path("mini/tasks")) / f"{task}.jsonl", ("id", "cluster", "language"))
    return _select(rows, languages, limit, f"task {task!r}")


def read_sentences(languages: Sequence[str] | None = None, limit: int | None = None) -> list[dict[str, Any]]:
    """Read the miniature world's single sentences with their meaning (for probes): id, language, text, attributes."""
    rows = _read_lines(data_path("mini/sentences.jsonl"), ("id", "language", "text"))
    for row in rows:
        row["cluster"] = row["id"]
    return _select(rows, languages, limit, "the list of sentences")


def task_templates(task: str, folder: Path | None = None) -> list[Template]:
    """Read a task's wordings."""
    path = (folder or data_path("mini/templates")) / f"{task}.toml"
    if not path.exists():
        known = sorted(found.stem for found in path.parent.glob("*.toml"))
        raise UnknownName(f"no wordings for task {task!r}; there are some for: {', '.join(known) or 'none'}")
    return read_templates(path)


def make_items(rows: Iterable[Mapping[str, Any]], templates: Iterable[Template]) -> list[Item]:
    """Fill every template with every row (rows outermost).

    Raises:
        BadInput: a row whose label points to no choice of the template.
    """
    wordings, items = list(templates), []
    for row in rows:
        for template in wordings:
            prompt = render(template, row)
            gold = row.get("label")
            if prompt.choices and not (isinstance(gold, int) and 0 <= gold < len(prompt.choices)):
                raise BadInput(
                    f"row {row['id']!r} has the label {gold!r}; {template.name!r} gives {len(prompt.choices)} choices"
                )
            items.append(
                Item(
                    id=f"{row['id']}|{row['language']}|{template.name}",
                    prompt=prompt.text,
                    choices=prompt.choices,
                    gold=gold if prompt.choices else None,
                    language=row["language"],
                    task=template.task,
                    template=template.name,
                    cluster=row["cluster"],
                    target=prompt.target,
                )
            )
    return items


def _read_lines(path: Path, needed: tuple[str, ...]) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise BadInput(f"{path}, line {number} is not JSON: {error}") from error
        missing = [name for name in needed if name not in row]
        if missing:
            raise BadInput(
                f"{path}, line {number} lacks the field {missing[0]!r}; needed are {', '.join(needed)}"
            )
        rows.append(row)
    return rows


def _select(
    rows: list[dict[str, Any]], languages: Sequence[str] | None, limit: int | None, what: str
) -> list[dict[str, Any]]:
    there = list(dict.fromkeys(row["language"] for row in rows))
    for language in languages or []:
        if language not in there:
            raise UnknownName(f"{what} has no language {language!r}; it has: {', '.join(there)}")
    clusters = list(dict.fromkeys(row["cluster"] for row in rows))[:limit]
    kept, wanted = set(clusters), set(languages or there)
    return [row for row in rows if row["cluster"] in kept and row["language"] in wanted]
