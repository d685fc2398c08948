"""Items, each a prompt to be answered, and their construction from rows and templates."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, SupportsIndex

from workbench.errors import BadInput
from workbench.prompts import Prompt, Template, render_all


@dataclass(frozen=True)
class Item:
    """One prompt to be answered.

    `cluster` is the id of the meaning, shared by the same item in other languages and wordings; `gold` is the
    index of the correct choice (None for tasks without choices); `target` is the correct answer as text.
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


PAIR = "pair"  # in place of the template's name


@dataclass(frozen=True)
class Asked:
    """Items, and for each template the number of rows that it skipped by rendering nothing."""

    items: tuple[Item, ...]
    skipped: Mapping[str, int]


def make_items(rows: Iterable[Mapping[str, Any]], templates: Iterable[Template]) -> list[Item]:
    """Fill every template with every row (rows in the outer loop); a template skips a row by rendering nothing for it.

    The correct choice is the one that the template renders as its target, since it may order choices differently.

    Raises:
        BadInput: a row without a required field, a label without a choice, a target that is none of the choices, or a template
            that renders nothing for any row.
    """
    return list(ask(rows, templates).items)


def pair_items(rows: Iterable[Mapping[str, Any]]) -> list[Item]:
    """Return an item for each row with `texts`, of which the first is right; there is no prompt, since the texts are scored as such."""
    return [
        Item(
            id=f"{row['id']}|{row['language']}|{PAIR}", prompt="", choices=tuple(row["texts"]), gold=0,
            language=row["language"], task=row.get("task", ""), template=PAIR, cluster=row["cluster"], target=row["texts"][0],
        )
        for row in rows
    ]  # fmt: skip


def ask(rows: Iterable[Mapping[str, Any]], templates: Iterable[Template]) -> Asked:
    """As `make_items`, but also return the number of skipped rows per template."""
    wordings, asked = list(templates), list(rows)
    for number, row in enumerate(asked, start=1):
        for name in ("id", "cluster", "language"):
            if name not in row:
                raise BadInput(f"row {number} lacks the field {name!r}; it has: {', '.join(map(str, row))}")
    columns = render_all(wordings, asked)
    skipped = {t.name: column.count(None) for t, column in zip(wordings, columns, strict=True)}
    for name, count in skipped.items():
        if asked and count == len(asked):
            raise BadInput(f"template {name!r} renders nothing for any of the {count} rows; leave it out")
    made = [
        _item(row, template, prompt)
        for number, row in enumerate(asked)
        for template, column in zip(wordings, columns, strict=True)
        if (prompt := column[number]) is not None
    ]
    return Asked(tuple(made), {name: count for name, count in skipped.items() if count})


def _item(row: Mapping[str, Any], template: Template, prompt: Prompt) -> Item:
    return Item(
        id=f"{row['id']}|{row['language']}|{template.name}",
        prompt=prompt.text,
        choices=prompt.choices,
        gold=_gold(row, template, prompt) if prompt.choices else None,
        language=row["language"],
        task=template.task or row.get("task", ""),
        template=template.name,
        cluster=row["cluster"],
        target=prompt.target,
    )


def _gold(row: Mapping[str, Any], template: Template, prompt: Prompt) -> int:
    label = row.get("label")
    number = label.__index__() if isinstance(label, SupportsIndex) and not isinstance(label, bool) else -1
    if not 0 <= number < len(prompt.choices):
        raise BadInput(
            f"row {row['id']!r} has the label {label!r}; {template.name!r} gives {len(prompt.choices)} choices, so give a whole "
            f"number from 0 to {len(prompt.choices) - 1}"
        )
    if prompt.target not in prompt.choices:
        raise BadInput(
            f"template {template.name!r} gives the target {prompt.target!r} for row {row['id']!r}, which is none of its "
            f"choices {prompt.choices!r}; end it with `||| {{{{answer_choices[label]}}}}`"
        )
    # if two choices have the same text, the label decides between them
    return number if prompt.choices[number] == prompt.target else prompt.choices.index(prompt.target)
