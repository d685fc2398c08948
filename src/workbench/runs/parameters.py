"""Parameters of a notebook, validated before any kernel starts.

Each of our own notebooks has a pydantic model in `workbench.runs.schemas`. For any other notebook the schema is derived
from its cell tagged `parameters` (annotations and literals, by `ast`, never executed). Validation is strict: the text "no"
remains a language code, True is not a number, and nothing is parsed as YAML.
"""

import ast
import difflib
import json
import os
import re
from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, create_model

from workbench.errors import BadInput
from workbench.paths import expanded
from workbench.runs.notebooks import Notebook
from workbench.runs.schemas import SCHEMAS, Parameters
from workbench.runs.secrets import refuse_secret

_NAMES_FILES = re.compile(
    r"(^|_)(paths?|files?|folders?|dirs?|director(y|ies)|data|datasets?|corp(us|ora)|rows|lexicons?|templates?|family|answers"
    r"|models?|checkpoints?|bases?|encoder|decoder)(_|$)"
)
_TYPES = {
    "str": str,
    "int": int,
    "float": float,
    "bool": bool,
    "list": list,
    "dict": dict,
    "None": None,
    "Any": Any,
}
_WORDS: dict[str, Any] = {"true": True, "false": False, "none": None}


def schema_of(notebook: Notebook) -> type[BaseModel]:
    """Return the pydantic model that a notebook's parameters must match.

    Raises:
        BadInput: not exactly one `parameters` cell, a cell with anything but plain assignments, or one that holds a secret.
    """
    fields = cell_fields(notebook)
    for name, (_, default) in fields.items():
        refuse_secret(name, default)
    known = SCHEMAS.get(notebook.path.stem)
    if known is not None and known.model_fields.keys() == fields.keys():
        return known  # a copy with other parameters gets a schema from its cell
    configuration = ConfigDict(**Parameters.model_config)
    return create_model(notebook.path.stem, __config__=configuration, **fields)  # type: ignore[call-overload]


def cell_fields(notebook: Notebook) -> dict[str, tuple[Any, Any]]:
    """Return name -> (type, default) of the assignments in the `parameters` cell, typed by annotation or by the literal."""
    try:
        statements = ast.parse(notebook.parameters_cell).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise BadInput(f"{notebook.path.name}: the parameters cell is not Python: {error}") from error
    fields: dict[str, tuple[Any, Any]] = {}
    for statement in statements:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            continue  # a docstring
        target = (
            statement.targets[0] if isinstance(statement, ast.Assign) else getattr(statement, "target", None)
        )
        if not isinstance(statement, ast.Assign | ast.AnnAssign) or not isinstance(target, ast.Name):
            raise BadInput(_not_plain(notebook, statement))
        if statement.value is None or target.id.startswith("_"):
            raise BadInput(_not_plain(notebook, statement))
        try:
            default = ast.literal_eval(statement.value)
            default = list(default) if isinstance(default, tuple | set) else default  # JSON has lists only
            kind = (
                _annotated(statement.annotation)
                if isinstance(statement, ast.AnnAssign)
                else _kind_of(default)
            )
        except (ValueError, TypeError, RecursionError):
            raise BadInput(_not_plain(notebook, statement)) from None
        fields[target.id] = (kind, default)
    return fields


def parse(notebook: Notebook, texts: Mapping[str, str]) -> dict[str, Any]:
    """Convert the texts of a command line (`{"seed": "3"}`) to values of the types that the notebook declares, for `run`.

    Parameters of type str stay text. Lists are JSON (`["x-en", "no"]`) or separated by commas; true, false and none are
    keywords.

    Raises:
        BadInput: an unknown name, or what looks like a secret. A text that does not match its type is left for `run` to reject.
    """
    schema = schema_of(notebook)
    for name, text in texts.items():
        refuse_secret(name, text)
        _refuse_unknown(name, schema, notebook)
    return {name: _read(name, text, schema.model_fields[name].annotation) for name, text in texts.items()}


def names_files(name: str) -> bool:
    """Return whether a parameter's name implies that it may name a file or folder: data, templates, model, out_file and so on."""
    return _NAMES_FILES.search(name) is not None


def texts_in(value: Any) -> Iterator[str]:
    """Yield every text in a parameter's value, at any depth of lists and dicts."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from texts_in(part)


def check(notebook: Notebook, values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Validate values against the notebook's schema.

    Returns:
        (all parameters with defaults, only those given), as JSON values. In parameters whose name says that they name files,
        paths relative to the working folder are made absolute; other text is unchanged.

    Raises:
        BadInput: an unknown name (the message suggests near ones), a wrong type or value, or what looks like a secret.
    """
    schema = schema_of(notebook)
    for name, value in values.items():
        refuse_secret(name, value)
        _refuse_unknown(name, schema, notebook)
    try:
        given = json.loads(json.dumps(dict(values), allow_nan=False, ensure_ascii=False).encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise BadInput(
            f"parameters must be strings, finite numbers, booleans, lists or dicts, written in UTF-8: {error}"
        ) from error
    given = {name: _from_here(name, value) for name, value in given.items()}
    try:
        checked = schema.model_validate(given).model_dump(mode="json")
    except ValidationError as error:
        raise BadInput(_explain(error, schema)) from error
    return checked, {name: checked[name] for name in given}


def _annotated(node: ast.expr) -> Any:
    """Return the type that an annotation names, from a short list; any other annotation is not checked."""
    match node:
        case ast.Constant(value=None):
            return None
        case ast.Name(id=name):
            return _TYPES.get(name, Any)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return Union[_annotated(left), _annotated(right)]  # noqa: UP007  (None | None is no type)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inner):
            options = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            return Literal[tuple(ast.literal_eval(option) for option in options)]
        case ast.Subscript(value=ast.Name(id="Optional"), slice=inner):
            return Union[_annotated(inner), None]  # noqa: UP007
        case ast.Subscript(value=ast.Name(id="list"), slice=inner):
            return list[_annotated(inner)]  # type: ignore[misc]
        case ast.Subscript(value=ast.Name(id="dict"), slice=ast.Tuple(elts=[key, value])):
            return dict[_annotated(key), _annotated(value)]  # type: ignore[misc]
    return Any


def _kind_of(value: Any) -> Any:
    if value is None:
        return Any
    if not isinstance(value, list):
        return type(value)
    kinds = {type(item) for item in value}
    kinds = {float} if kinds == {int, float} else kinds
    return list[kinds.pop()] if len(kinds) == 1 else list  # type: ignore[misc]


def _read(name: str, text: str, kind: Any) -> Any:
    """Convert a text of the command line to a value; what cannot be converted is returned unchanged, for `check` to reject."""
    options = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    if str in options and not (NoneType in options and text.lower() == "none"):
        return text
    if any(
        option is list or get_origin(option) is list for option in options
    ) and not text.lstrip().startswith("["):
        item = next((get_args(option)[0] for option in options if get_args(option)), str)
        return [_read(name, part.strip(), item) for part in text.split(",") if part.strip()]
    if get_origin(kind) is Literal and text in get_args(kind):
        return text
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        value = json.loads(text)
        TypeAdapter(kind, config=ConfigDict(strict=True)).validate_python(value)
    except (ValueError, RecursionError, ValidationError):
        return text
    return value


def _from_here(name: str, value: Any) -> Any:
    """Make paths in a parameter that names files absolute, since the notebook runs in another folder."""
    if isinstance(value, list):
        return [_from_here(name, item) for item in value]
    if isinstance(value, dict):
        return {key: _from_here(name, item) for key, item in value.items()}
    if not isinstance(value, str) or not names_files(name):
        return value
    path = expanded(value)
    is_path = value.startswith(("./", "../", "~/")) or (
        "/" in str(path) and os.path.exists(path)
    )  # os.path.exists does not raise for a long text
    return str(path.absolute()) if is_path else value


def _refuse_unknown(name: str, schema: type[BaseModel], notebook: Notebook) -> None:
    if name not in schema.model_fields:
        near = difflib.get_close_matches(name, schema.model_fields, n=3)
        hint = f"did you mean {', '.join(near)}? " if near else ""
        raise BadInput(
            f"no parameter {name!r} in {notebook.path.name}; {hint}it takes: {', '.join(schema.model_fields)}"
        )


def _explain(error: ValidationError, schema: type[BaseModel]) -> str:
    problems = []
    for problem in error.errors(include_url=False):
        if not problem["loc"]:  # an error that concerns several parameters; its message names them
            problems.append(problem["msg"].removeprefix("Value error, "))
            continue
        name = ".".join(map(str, problem["loc"]))
        what = problem["msg"][0].lower() + problem["msg"][1:]
        default = schema.model_fields[str(problem["loc"][0])].default
        problems.append(f"parameter {name}: got {problem['input']!r} – {what} – the default is {default!r}")
    return "; ".join(problems)


def _not_plain(notebook: Notebook, statement: ast.stmt) -> str:
    return (
        f"{notebook.path.name}: line {statement.lineno} of the parameters cell, {ast.unparse(statement)!r}, is not "
        "`name: type = literal` – only those can be checked – move anything else to the next cell"
    )
