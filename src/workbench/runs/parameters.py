"""Parameters of a notebook, validated before any kernel starts against what it declares (`workbench.runs.parameter_cell`).

Validation is strict: the text "no" remains a language code, True is not a number, and nothing is parsed as YAML.
"""

import difflib
import json
import os
import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from workbench.errors import BadInput
from workbench.family import families, family_with_data, fitting_source, shared_badge
from workbench.models.engines import engine_called, engine_for
from workbench.models.places import locate
from workbench.paths import expanded
from workbench.runs.notebooks import Notebook
from workbench.runs.parameter_cell import declared_in
from workbench.runs.reference_models import expect_distinct, reference_models, texts_in
from workbench.runs.secrets import refuse_secret
from workbench.runs.types import Found

_NAMES_FILES = re.compile(
    r"(^|_)(paths?|files?|folders?|dirs?|director(y|ies)|data|datasets?|corp(us|ora)|rows|lexicons?|templates?|family|answers"
    r"|models?|sources?|checkpoints?|bases?|encoder|decoder)(_|$)"
)


def parse(notebook: Notebook, texts: Mapping[str, str]) -> dict[str, Any]:
    """Convert the texts of a command line (`{"seed": "3"}`) to values of the types that the notebook declares, for `run`.

    Parameters of type str stay text. Lists are JSON (`["en", "no"]`) or separated by commas; true, false and none are
    keywords.

    Raises:
        BadInput: an unknown name, or what looks like a secret. A text that does not match its type is left for `run` to reject.
    """
    types = declared_in(notebook).types
    _refuse_names(texts, types, notebook)
    return {name: _read(text, types.model_fields[name].rebuild_annotation()) for name, text in texts.items()}


def _read(text: str, kind: Any) -> Any:
    """Return the first reading of a text that has the type, or the text, for `check` to reject."""
    adapter = TypeAdapter(kind, config=ConfigDict(strict=True))
    for value in _readings(text, kind):
        try:
            return adapter.validate_python(value)
        except (ValidationError, RecursionError):
            continue
    return text


def _readings(text: str, kind: Any) -> Iterator[Any]:
    """Yield what a text may stand for: none, itself (last if the type is unknown), JSON, or a list with commas."""
    if text.lower() == "none":
        yield None
    if kind is not Any:
        yield text
    yield _from_json(text)
    if not text.lstrip().startswith("["):
        parts = [part.strip() for part in text.split(",") if part.strip()]
        yield parts
        yield [_from_json(part) for part in parts]


def _from_json(text: str) -> Any:
    try:
        return json.loads(text.lower() if text.lower() in ("true", "false") else text)
    except (ValueError, RecursionError):
        return text


def check(notebook: Notebook, values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Validate values against what the notebook declares.

    Returns:
        (all parameters with defaults, only those given and what `reference_models` adds), as JSON values. In parameters whose name
        says that they name files, paths relative to the working folder are made absolute; other text is unchanged.

    Raises:
        BadInput: an unknown name (the message suggests near ones), a wrong type or value, a condition that does not hold, or
            what looks like a secret.
        UnknownName: no such model; the message lists near ones.
    """
    declared = declared_in(notebook)
    _refuse_names(values, declared.types, notebook)
    try:
        given = json.loads(json.dumps(dict(values), allow_nan=False, ensure_ascii=False).encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise BadInput(
            f"parameters must be strings, finite numbers, booleans, lists or dicts, written in UTF-8: {error}"
        ) from error
    given = {name: _from_here(name, value) for name, value in given.items()}
    _validated(declared.types, given, Found())
    given |= reference_models(declared.kinds, declared.defaults, given)
    checked, found = _validated(declared.types, given, Found())
    declared.expect(checked)
    for group in (("Model", "Partner", "Base"), ("OtherModel",)):
        shared_badge(found.of(*group))
    expect_distinct(found.of("Model", "Partner"), found.of("Base"))
    for name in found.of("Model", "Partner", "Base", "OtherModel") if checked.get("revision") else ():
        locate(name, checked["revision"])  # refuses a revision of what is not on the hub
    for name in found.of("Model", "Partner", "Base", "OtherModel") if checked.get("quantization") else ():
        engine_called(engine_for(name)).spec.quantized(checked["quantization"])  # refuses one it lacks
    source = next(iter(found.of("Source")), fitting_source(found.of("Model")))
    ships = "Source" not in found.names or family_with_data(source) is not None
    _validated(declared.types, given, Found(ships=ships))
    if not ships or ("Source" in found.names and found.of("Attribute")):
        # reads the data, for which it imports pyarrow and jinja2
        import_module("workbench.runs.source_check").expect_fit(source, found, checked)
    return checked, {name: checked[name] for name in given}


def _validated(
    types: type[BaseModel], given: Mapping[str, Any], found: Found
) -> tuple[dict[str, Any], Found]:
    """Return all parameters, and the names in them by type."""
    try:
        return types.model_validate(given, context=found).model_dump(mode="json"), found
    except ValidationError as error:
        raise BadInput(_explain(error, types)) from error


def models_in(notebook: Notebook, parameters: Mapping[str, Any]) -> list[str]:
    """Return the distinct models that a notebook's parameters name, in order.

    These are the values of parameters declared with the types `Model`, `Partner`, `Base` and `OtherModel` (also inside lists,
    dicts and unions: `list[Model]`, `Model | None`), and every text that is the short name or hub id of a checkpoint of a known family, whatever
    its declared type. A folder or the hub id of another model is found only where the type says so. `parameters` are all, as
    `check` returns them.
    """
    found = Found()
    declared_in(notebook).types.model_validate(dict(parameters), context=found)
    named = set(found.of("Model", "Partner", "Base", "OtherModel")) | {
        name for family in families() for one in family.checkpoints for name in (one.name, one.hub_id)
    }
    return list(dict.fromkeys(text for text in texts_in(dict(parameters)) if text in named))


def names_files(name: str) -> bool:
    """Return whether a parameter's name implies that it may name a file or folder: data, templates, model, out_file and so on."""
    return _NAMES_FILES.search(name) is not None


def _from_here(name: str, value: Any) -> Any:
    """Make paths in a parameter that names files absolute, since the notebook runs in another folder."""
    if isinstance(value, list):
        return [_from_here(name, item) for item in value]
    if isinstance(value, dict):
        return {key: _from_here(name, item) for key, item in value.items()}
    if not isinstance(value, str) or not names_files(name):
        return value
    path = expanded(value)
    # os.path.exists does not raise for a long text
    is_path = value.startswith(("./", "../", "~/")) or ("/" in str(path) and os.path.exists(path))
    return str(path.absolute()) if is_path else value


def _refuse_names(given: Mapping[str, Any], types: type[BaseModel], notebook: Notebook) -> None:
    for name, value in given.items():
        refuse_secret(name, value)
        if name not in types.model_fields:
            near = difflib.get_close_matches(name, types.model_fields, n=3)
            hint = f"did you mean {', '.join(near)}? " if near else ""
            raise BadInput(
                f"no parameter {name!r} in {notebook.path.name}; {hint}it takes: {', '.join(types.model_fields)}"
            )


def _explain(error: ValidationError, types: type[BaseModel]) -> str:
    problems = []
    for problem in error.errors(include_url=False):
        name = ".".join(map(str, problem["loc"]))
        what = problem["msg"].removeprefix("Value error, ")
        default = types.model_fields[str(problem["loc"][0])].default
        problems.append(
            f"parameter {name}: got {problem['input']!r} – {what[:1].lower()}{what[1:]} – the default is {default!r}"
        )
    return "; ".join(problems)
