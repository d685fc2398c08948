"""One prompt to be answered, and how rows and templates become many."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from workbench.errors import BadInput
from workbench.prompts import Prompt, Template, render_all


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


def make_items(rows: Iterable[Mapping[str, Any]], templates: Iterable[Template]) -> list[Item]:
    """Fill every template with every row (rows outermost).

    The right choice is the one that the template gives as its target: it may list choices in an order of its own.

    Raises:
        BadInput: a row whose label points to no choice, or a target that is none of the choices.
    """
    wordings, asked = list(templates), list(rows)
    columns = render_all(wordings, asked)
    return [
        _item(row, template, column[number])
        for number, row in enumerate(asked)
        for template, column in zip(wordings, columns, strict=True)
    ]


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
    if not (isinstance(label, int) and 0 <= label < len(prompt.choices)):
        raise BadInput(
            f"row {row['id']!r} has the label {label!r}; {template.name!r} gives {len(prompt.choices)} choices"
        )
    if prompt.target not in prompt.choices:
        raise BadInput(
            f"template {template.name!r} gives the target {prompt.target!r} for row {row['id']!r}, which is none of its "
            f"choices {prompt.choices!r}"
        )
    # two choices of the same text cannot be told apart by rank; the label says which was meant
    return label if prompt.choices[label] == prompt.target else prompt.choices.index(prompt.target)
