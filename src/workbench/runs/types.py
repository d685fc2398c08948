"""Types for a notebook's `parameters` cell whose values are names; a wrong name is refused before a kernel starts.

    from workbench.runs import Language, Model, Task
    model: Model = "bloomz-560m"
    languages: list[Language] = ["fr"]

To Python they are `str`. The known names are read from the data files with the standard library, since the rooms that read
them in full import pandas and jinja2, which would delay the start of a run.
"""

import tomllib
from collections.abc import Callable, Sequence
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


def _one_of(known: Callable[[], Sequence[str]]) -> AfterValidator:
    """Accept only known names; without a context (`workbench.runs.parameters.check` gives one) any text is accepted."""

    def expect_known(name: str, info: ValidationInfo) -> str:
        if info.context is not None and name not in known():
            near = get_close_matches(name, known(), n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ValueError(f"{hint}choose from: {', '.join(known())}")
        return name

    return AfterValidator(expect_known)


def _model(group: str) -> AfterValidator:
    """Collect names of models in the context, a dict of lists, under `group`."""

    def collect(name: str, info: ValidationInfo) -> str:
        if not name:
            raise ValueError("give a short name, a hub id or a folder")
        if info.context is not None:
            info.context.setdefault(group, []).append(name)
        return name

    return AfterValidator(collect)


Model = Annotated[str, _model("Model")]
"""A checkpoint: short name, hub id or folder. All models of one notebook must be allowed in one figure."""

OtherModel = Annotated[str, _model("OtherModel")]
"""As `Model`, for models that are never in one figure with those declared `Model`."""

Task = Annotated[str, _one_of(tasks)]
"""A task with answer choices that ships with a family."""

Language = Annotated[str, _one_of(languages)]
"""The language of rows of the shipped tasks."""

PromptLanguage = Annotated[str, _one_of(template_languages)]
"""The language of shipped templates."""

Wording = Annotated[str, _one_of(template_names)]
"""The name of a shipped template."""

DECLARED = {
    "Model": Model,
    "OtherModel": OtherModel,
    "Task": Task,
    "Language": Language,
    "PromptLanguage": PromptLanguage,
    "Wording": Wording,
}
