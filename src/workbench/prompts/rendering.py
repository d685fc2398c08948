"""Templates as records, read from TOML, and rendered one row at a time in Jinja's sandbox."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from workbench.errors import BadInput

LONGEST_PROMPT = 100_000  # characters; more is a template gone wrong
_ENVIRONMENT = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
_ENVIRONMENT.globals.clear()  # `range` and friends make huge strings
_BAR = "|||"
_BAR_IN_DATA = "\ue000\ue001\ue000"  # stands for a bar inside a field until all is split; for private use


@dataclass(frozen=True)
class Template:
    """One wording of one task.

    `jinja` is `input ||| target`; `answer_choices` is `choice ||| choice …` or None for tasks without choices;
    `language` is the language of the wording, not of the data; `family` groups wordings that say it the same way;
    `held_out` marks families that no finetuning mixture contains. `translated` is "mt" or "ht" where a machine or a
    person translated it. `foreign` templates are rendered in a process of their own. `field_limit` cuts every inserted
    value after that many characters, as promptsource does (2048), with "..." after the last whole word.
    """

    name: str
    jinja: str
    answer_choices: str | None = None
    language: str = "en"
    family: str = ""
    held_out: bool = False
    task: str = ""
    translated: str = ""
    foreign: bool = False
    field_limit: int | None = None

    @property
    def digest(self) -> str:
        """A hash of what is rendered: the same text is the same template, whatever its name or id."""
        text = f"{self.jinja}\0{self.answer_choices}\0{self.field_limit}"
        return blake2b(text.encode(), digest_size=8).hexdigest()


@dataclass(frozen=True)
class Prompt:
    """A finished prompt: the text the model reads, the choices (may be empty) and the target text."""

    text: str
    choices: tuple[str, ...]
    target: str


def read_templates(path: Path, *, foreign: bool = False) -> list[Template]:
    """Read `[[template]]` tables from a TOML file; `foreign` where it is not ours.

    Raises:
        BadInput: not TOML, no template, a missing name or jinja, an unknown field, a value of another type; the message
            names the file and the template.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8")).get("template")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is not TOML: {error}") from error
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise BadInput(f"{path} has no templates; write [[template]] above the fields of each")
    return [_template(f"{path}: template {number}", table, foreign) for number, table in enumerate(tables, 1)]


def _template(where: str, table: Mapping[str, Any], foreign: bool) -> Template:
    known = {field.name for field in fields(Template)} - {"foreign", "field_limit"}
    unknown = sorted(set(table) - known)
    if unknown or "name" not in table or "jinja" not in table:
        wrong = f"has the unknown field {unknown[0]!r}" if unknown else "lacks `name` or `jinja`"
        raise BadInput(f"{where} {wrong}; fields are {', '.join(sorted(known))}")
    for name, value in table.items():
        if not isinstance(value, bool if name == "held_out" else str):
            needed = "true or false" if name == "held_out" else "a text, such as 'yes ||| no' for choices"
            raise BadInput(f"{where} has {value!r} as {name}; give {needed}")
    return Template(**table, foreign=foreign)


def render(template: Template, row: Mapping[str, Any]) -> Prompt:
    """Fill a template with one row; input and target are stripped, as promptsource does.

    `|||` inside a field of the row separates nothing.

    Raises:
        BadInput: the template names a field the row lacks, is broken, renders nothing, no choices, or far too much.
    """
    data = {
        name: value.replace(_BAR, _BAR_IN_DATA) if isinstance(value, str) else value
        for name, value in row.items()
    }
    choices: tuple[str, ...] = ()
    if template.answer_choices is not None:
        choices = _parts(_fill(template, template.answer_choices, data))
        if len(choices) < 2 or not all(choices):
            raise BadInput(
                f"template {template.name!r} renders the choices {choices!r} for the row {_short(row)}; two or more are needed"
            )
    source = template.jinja
    if template.field_limit is not None:
        source = source.replace("}}", f" | string | truncate({template.field_limit}) }}}}")
    listed = [choice.replace(_BAR, _BAR_IN_DATA) for choice in choices]
    filled = _fill(template, source, {**data, "answer_choices": listed})
    text, target, *_ = (*_parts(filled), "")
    if not text:
        raise BadInput(f"template {template.name!r} renders an empty prompt for the row {_short(row)}")
    return Prompt(text=text, choices=choices, target=target)


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.replace(_BAR_IN_DATA, _BAR).strip() for part in text.split(_BAR))


def _fill(template: Template, source: str, row: Mapping[str, Any]) -> str:
    try:
        text = _compiled(source).render(row)
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
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
