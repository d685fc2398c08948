"""Template records, read from TOML and rendered one row at a time in Jinja's sandbox."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from workbench.errors import BadInput
from workbench.prompts.jinja import FOREIGN, OURS, drawing_by, parts, shown

LONGEST_PROMPT = 100_000  # characters; more indicates a faulty template
LARGEST_FILE = 5_000_000  # bytes of a template file; the published ones are far smaller
_FAILURES = (
    TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RuntimeError, AssertionError,
    SyntaxError,
)  # fmt: skip


@dataclass(frozen=True)
class Template:
    """One prompt template of one task.

    `jinja` is `input ||| target`; `answer_choices` is `choice ||| choice …`, or None for tasks without choices. `language` is
    the language of the template, not of the data. `family` groups equivalent templates, such as translations of one;
    `held_out` marks families that are in no finetuning mixture. `translated` is "mt" or "ht" for a machine or human
    translation. `foreign` marks third-party templates, which are rendered in a separate process. `field_limit` truncates every
    inserted value to that many characters, as promptsource does (2048), with "..." after the last whole word.
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
        """A hash of what is rendered; templates with equal texts have equal digests, whatever their names."""
        text = f"{self.jinja}\0{self.answer_choices}\0{self.field_limit}"
        return blake2b(text.encode(), digest_size=8).hexdigest()


@dataclass(frozen=True)
class Prompt:
    """A rendered prompt: the text for the model, the choices (possibly none) and the target text."""

    text: str
    choices: tuple[str, ...]
    target: str


def read_templates(path: Path, *, foreign: bool = False) -> list[Template]:
    """Read `[[template]]` tables from a TOML file; set `foreign` for third-party files.

    Raises:
        BadInput: not TOML, no templates, a missing name or jinja, an unknown field, a value of the wrong type; the message
            names the file and the template.
    """
    try:
        tables = tomllib.loads(read_text(path)).get("template")
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise BadInput(f"{path} is not TOML: {error}; repair it, or name another") from error
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise BadInput(f"{path} has no templates; write [[template]] above the fields of each")
    return [_template(f"{path}: template {number}", table, foreign) for number, table in enumerate(tables, 1)]


def read_text(path: Path) -> str:
    """Return the text of a template file, without a byte-order mark.

    Raises:
        BadInput: not readable, not UTF-8, or too large.
    """
    try:
        size = path.stat().st_size
        text = path.read_text(encoding="utf-8-sig") if size <= LARGEST_FILE else ""
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"{path} cannot be read as a text in UTF-8: {error}; repair it, or name another"
        ) from error
    if size > LARGEST_FILE:
        raise BadInput(f"{path} has {size} bytes; at most {LARGEST_FILE} are read")
    return text


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


def is_text(text: str) -> bool:
    """Whether a string can be encoded in UTF-8; one with a lone surrogate, which JSON escapes allow, cannot."""
    return text.isascii() or not any("\ud800" <= sign <= "\udfff" for sign in text)


def render(template: Template, row: Mapping[str, Any]) -> Prompt:
    """Fill a template with one row; input and target are stripped, as in promptsource.

    `|||` inside a field of the row is not a separator.

    Raises:
        BadInput: the template uses a field that is missing or null, is invalid, or renders an empty prompt, too few choices or
            too much text.
    """
    prompt = render_unless_blank(template, row)
    if prompt is None:
        raise BadInput(f"template {template.name!r} renders an empty prompt for {named(row)}")
    return prompt


def render_unless_blank(template: Template, row: Mapping[str, Any]) -> Prompt | None:
    """As `render`, but return None if nothing is rendered, which is how a template signals that it does not apply to the row.

    Source: the published evaluation skips such rows (bigscience-workshop/t-zero), as users of promptsource do.
    """
    data = {name: shown(value, name) for name, value in row.items()}
    with drawing_by(lambda: f"{template.digest} {json.dumps(dict(row), sort_keys=True, default=str)}"):
        choices: tuple[str, ...] = ()
        if template.answer_choices is not None:
            choices = parts(_fill(template, template.answer_choices, data, row))
        source = template.jinja
        if template.field_limit is not None:
            source = source.replace("}}", f" | string | truncate({template.field_limit}) }}}}")
        listed = shown(list(choices), "answer_choices")
        text, target, *_ = (*parts(_fill(template, source, {**data, "answer_choices": listed}, row)), "", "")
    if not text and not target:
        return None
    if template.answer_choices is not None and (len(choices) < 2 or not all(choices)):
        raise BadInput(
            f"template {template.name!r} renders the choices {choices!r} for {named(row)}; two or more are needed"
        )
    if not text:
        raise BadInput(f"template {template.name!r} renders an empty prompt for {named(row)}")
    return Prompt(text=text, choices=choices, target=target)


def _fill(template: Template, source: str, data: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    try:
        text = _compiled(source, template.foreign).render(data)
    except _FAILURES as error:
        raise BadInput(
            f"template {template.name!r} fails for {named(row)}: {error}; the row has {', '.join(sorted(map(str, row)))}"
        ) from error
    if len(text) > LONGEST_PROMPT:
        raise BadInput(
            f"template {template.name!r} renders {len(text)} characters for {named(row)}; at most {LONGEST_PROMPT} are allowed"
        )
    if not is_text(text):
        raise BadInput(
            f"template {template.name!r} renders half of a surrogate pair for {named(row)}; repair it"
        )
    return text


@lru_cache(maxsize=4096)
def _compiled(source: str, foreign: bool) -> Any:
    return (FOREIGN if foreign else OURS).from_string(source)


def named(row: Mapping[str, Any]) -> str:
    """Return how a message refers to a row: by its id, or else by its fields."""
    if "id" in row:
        return f"the row {row['id']!r}"
    text = ", ".join(f"{key}={value!r}" for key, value in row.items())
    return f"the row {text if len(text) < 200 else text[:200] + '…'}"
