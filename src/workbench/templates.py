"""A row of data and a template become a prompt, its choices and its target.

Templates follow promptsource's convention: Jinja with `|||` between the input and the target, answer choices
separated by `|||` as well. They are read from TOML (our own); they come from other people too, so they are
rendered in Jinja's sandbox, and what they give is checked.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from workbench.errors import BadInput

LONGEST_PROMPT = 100_000  # characters; more is a template gone wrong
_ENVIRONMENT = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
_ENVIRONMENT.globals.clear()  # `range` and friends make huge strings


@dataclass(frozen=True)
class Template:
    """One wording of one task.

    `jinja` is `input ||| target`; `answer_choices` is `choice ||| choice …` or None for tasks without choices;
    `language` is the language of the wording, not of the data; `family` groups wordings that say it the same way;
    `held_out` marks families that no finetuning mixture contains.
    """

    name: str
    jinja: str
    answer_choices: str | None = None
    language: str = "en"
    family: str = ""
    held_out: bool = False
    task: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False, compare=False)


@dataclass(frozen=True)
class Prompt:
    """A finished prompt: the text the model reads, the choices (may be empty) and the target text."""

    text: str
    choices: tuple[str, ...]
    target: str


def read_templates(path: Path) -> list[Template]:
    """Read `[[template]]` tables from a TOML file.

    Raises:
        BadInput: not TOML, a missing name or jinja, an unknown field; the message names the file and the template.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8")).get("template", [])
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is not TOML: {error}") from error
    known = set(Template.__dataclass_fields__)
    templates = []
    for number, table in enumerate(tables, start=1):
        unknown = sorted(set(table) - known)
        if unknown or "name" not in table or "jinja" not in table:
            wrong = f"has the unknown field {unknown[0]!r}" if unknown else "lacks `name` or `jinja`"
            raise BadInput(f"{path}: template {number} {wrong}; fields are {', '.join(sorted(known))}")
        templates.append(Template(**table))
    return templates


def render(template: Template, row: Mapping[str, Any]) -> Prompt:
    """Fill a template with one row; input and target are stripped, as promptsource does.

    Raises:
        BadInput: the template names a field the row lacks, is broken, renders nothing, or far too much.
    """
    choices: tuple[str, ...] = ()
    if template.answer_choices is not None:
        choices = tuple(part.strip() for part in _fill(template, template.answer_choices, row).split("|||"))
    whole = _fill(template, template.jinja, {**row, "answer_choices": list(choices)})
    text, _, target = whole.partition("|||")
    if not text.strip():
        raise BadInput(f"template {template.name!r} renders an empty prompt for the row {_short(row)}")
    return Prompt(text=text.strip(), choices=choices, target=target.strip())


def _fill(template: Template, source: str, row: Mapping[str, Any]) -> str:
    try:
        text = _compiled(source).render(row)
    except TemplateError as error:
        raise BadInput(
            f"template {template.name!r}: {error}; the row has {', '.join(sorted(row))}"
        ) from error
    if len(text) > LONGEST_PROMPT:
        raise BadInput(
            f"template {template.name!r} renders {len(text)} characters; at most {LONGEST_PROMPT} are taken"
        )
    return text


@lru_cache(maxsize=4096)
def _compiled(source: str) -> Any:
    return _ENVIRONMENT.from_string(source)


def _short(row: Mapping[str, Any]) -> str:
    text = ", ".join(f"{key}={value!r}" for key, value in row.items())
    return text if len(text) < 200 else text[:200] + "…"
