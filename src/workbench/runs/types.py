"""Types for a notebook's `parameters` cell whose values are names; a wrong name is refused before a kernel starts.

    from workbench.runs import Language, Model, Task
    model: Model = "bloomz-560m"
    languages: list[Language] = ["fr"]

To Python they are `str`. The known names are read from the data files with the standard library, since the rooms that read
them in full import pandas and jinja2, which would delay the start of a run.
"""

import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from typing import Annotated, Any

from pydantic import AfterValidator, ValidationInfo

from workbench.family import data_files, families


@cache
def _templates() -> dict[str, list[dict[str, Any]]]:
    """Return the shipped templates of each task, as they are in its file."""
    files = data_files("templates/*.toml")
    return {path.stem: tomllib.loads(path.read_text(encoding="utf-8"))["template"] for path in files}


def tasks() -> list[str]:
    """Return the shipped tasks that have answer choices."""
    shipped = sorted(path.stem for path in data_files("tasks/*.jsonl"))
    return [task for task in shipped if "answer_choices" in _templates()[task][0]]


def languages() -> list[str]:
    """Return the languages of the shipped tasks."""
    return [language for family in families() for language in family.languages]


def template_languages() -> list[str]:
    """Return the languages of the shipped templates."""
    return list(dict.fromkeys(one["language"] for found in _templates().values() for one in found))


def template_names() -> list[str]:
    """Return the names of the shipped templates."""
    return list(dict.fromkeys(one["name"] for found in _templates().values() for one in found))


@dataclass
class Found:
    """The names found in parameters, by their declared type: the context of a validation.

    `ships` says whether those of data must be names of data that ship with a family.
    """

    ships: bool = False
    names: dict[str, list[str]] = field(default_factory=dict)

    def of(self, *kinds: str) -> list[str]:
        """Return the names that parameters of these types have, in order."""
        return [name for kind in kinds for name in self.names.get(kind, [])]


def _one_of(kind: str, known: Callable[[], Sequence[str]]) -> AfterValidator:
    """Collect names and, if the data are those that ship, accept only known ones; an empty text stands for what fits."""

    def expect_known(name: str, info: ValidationInfo) -> str:
        found = _collect(kind, name, info)
        if name and found is not None and found.ships and name not in known():
            near = get_close_matches(name, known(), n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ValueError(f"{hint}choose from: {', '.join(known())}")
        return name

    return AfterValidator(expect_known)


def _named(kind: str, needed: str = "") -> AfterValidator:
    """Collect names; if it is `needed`, an empty one is refused with this advice."""

    def expect_name(name: str, info: ValidationInfo) -> str:
        if needed and not name:
            raise ValueError(needed)
        _collect(kind, name, info)
        return name

    return AfterValidator(expect_name)


def _collect(kind: str, name: str, info: ValidationInfo) -> Found | None:
    found: Found | None = info.context
    if found is not None:
        found.names.setdefault(kind, []).extend([name] if name else [])
    return found


_A_MODEL = "give a short name, a hub id or a folder"


Model = Annotated[str, _named("Model", _A_MODEL)]
"""A checkpoint: short name, hub id or folder. All models of one notebook must be allowed in one figure."""

OtherModel = Annotated[str, _named("OtherModel", _A_MODEL)]
"""As `Model`, for models that are never in one figure with those declared `Model`."""

Partner = Annotated[str, _named("Partner")]
"""A checkpoint in one figure with those declared `Model`; empty: none.

If models are given and it is not, a default of another kind than theirs is left out.
"""

Base = Annotated[str, _named("Base")]
"""In a list: what each of those declared `Model` was finetuned from; if it is empty, or models are given and it is not, the catalogue says."""

Source = Annotated[str, _named("Source")]
"""Where the data come from, as `workbench.tasks.read_data` takes it; empty: what fits the models.

In a notebook that declares it, the names of the types below are those of the source, and empty ones stand for what fits it.
"""

Task = Annotated[str, _one_of("Task", tasks)]
"""A task with answer choices; without a `Source`, one that ships with a family."""

Language = Annotated[str, _one_of("Language", languages)]
"""The language of rows."""

PromptLanguage = Annotated[str, _one_of("PromptLanguage", template_languages)]
"""The language of templates."""

Wording = Annotated[str, _one_of("Wording", template_names)]
"""The name of a template."""

Attribute = Annotated[str, _named("Attribute")]
"""An attribute of the source's texts."""

DECLARED = {
    "Attribute": Attribute,
    "Base": Base,
    "Language": Language,
    "Model": Model,
    "OtherModel": OtherModel,
    "Partner": Partner,
    "PromptLanguage": PromptLanguage,
    "Source": Source,
    "Task": Task,
    "Wording": Wording,
}
