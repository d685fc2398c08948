"""Parameters of a notebook, validated before any kernel starts.

What a notebook takes is declared in its cell tagged `parameters`: one `name: type = literal` a line, and conditions, as
`assert folds >= 2, "give at least two parts"`. Types are Python's own, `Literal`, and those of `workbench.runs.types`. The
cell is read by `ast` and never executed. Validation is strict: the text "no" remains a language code, True is not a number,
and nothing is parsed as YAML.
"""

import ast
import difflib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any, Literal, Union

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, create_model

from workbench.errors import BadInput
from workbench.family import families, family_with_data, fitting_source, shared_badge
from workbench.paths import expanded
from workbench.runs.notebooks import Notebook
from workbench.runs.secrets import refuse_secret
from workbench.runs.types import DECLARED, Found

_NAMES_FILES = re.compile(
    r"(^|_)(paths?|files?|folders?|dirs?|director(y|ies)|data|datasets?|corp(us|ora)|rows|lexicons?|templates?|family|answers"
    r"|models?|sources?|checkpoints?|bases?|encoder|decoder)(_|$)"
)
_TYPES: dict[str, Any] = {kind.__name__: kind for kind in (str, int, float, bool, list, dict)} | DECLARED
_STRICT = ConfigDict(extra="forbid", strict=True, frozen=True, validate_default=True, protected_namespaces=())
_FUNCTIONS = {"all": all, "bool": bool, "len": len, "set": set}
_OPERATORS = (
    ast.Compare, ast.cmpop, ast.BoolOp, ast.boolop, ast.Not, ast.UnaryOp, ast.USub, ast.BinOp, ast.Add, ast.Sub, ast.BitAnd,
    ast.BitOr, ast.Call, ast.Name, ast.Load, ast.Constant, ast.List, ast.Tuple,
)  # fmt: skip


@dataclass(frozen=True)
class Declared:
    """What a `parameters` cell declares: types and defaults as a pydantic model, and conditions between parameters."""

    types: type[BaseModel]
    conditions: tuple[ast.Assert, ...]


def declared_in(notebook: Notebook) -> Declared:
    """Return what a notebook's `parameters` cell declares.

    Raises:
        BadInput: not exactly one such cell, one with anything but declarations and conditions, or one that holds a secret.
    """
    return _declared(notebook.path.name, notebook.parameters_cell)


@lru_cache
def _declared(file: str, cell: str) -> Declared:
    try:
        statements = ast.parse(cell).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise BadInput(f"{file}: the parameters cell is not Python: {error}") from error
    fields: dict[str, tuple[Any, Any]] = {}
    conditions: list[ast.Assert] = []
    for statement in statements:
        match statement:
            case ast.Expr(value=ast.Constant()) | ast.ImportFrom(module="typing" | "workbench.runs", level=0):
                continue  # a docstring, or the types, which are known here without an import
            case ast.Assert(test=test, msg=None | ast.Constant()) if _is_condition(test):
                conditions.append(statement)
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr()) if not name.startswith("_"):
                fields[name] = _field(file, statement)
            case ast.Assign(targets=[ast.Name(id=name)]) if not name.startswith("_"):
                fields[name] = _field(file, statement)
            case _:
                raise BadInput(_not_plain(file, statement))
    for name, (_, default) in fields.items():
        refuse_secret(name, default)
    types = create_model(file, __config__=_STRICT, **fields)  # type: ignore[call-overload]
    return Declared(types, tuple(conditions))


def _field(file: str, statement: ast.Assign | ast.AnnAssign) -> tuple[Any, Any]:
    """Return the type, from the annotation or else from the literal, and the default."""
    try:
        default = ast.literal_eval(statement.value)  # type: ignore[arg-type]
        default = list(default) if isinstance(default, tuple | set) else default  # JSON has lists only
        if isinstance(statement, ast.AnnAssign):
            return _annotated(statement.annotation), default
    except (ValueError, TypeError, RecursionError):
        raise BadInput(_not_plain(file, statement)) from None
    return _kind_of(default), default


def _annotated(node: ast.expr) -> Any:
    """Return the type that an annotation names; values of any other annotation are not checked."""
    match node:
        case ast.Constant(value=None):
            return None
        case ast.Name(id=name):
            return _TYPES.get(name, Any)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return Union[_annotated(left), _annotated(right)]  # noqa: UP007  (None | None is no type)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=options):
            return Literal[ast.literal_eval(options)]
        case ast.Subscript(value=ast.Name(id="Optional"), slice=inner):
            return Union[_annotated(inner), None]  # noqa: UP007
        case ast.Subscript(value=ast.Name(id="list" | "dict" as name), slice=inner):
            parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            return _TYPES[name][tuple(map(_annotated, parts))]
    return Any


def _kind_of(value: Any) -> Any:
    if value is None:
        return Any
    if not isinstance(value, list):
        return type(value)
    kinds = {type(item) for item in value}
    kinds = {float} if kinds == {int, float} else kinds
    return list[kinds.pop()] if len(kinds) == 1 else list  # type: ignore[misc]


def _is_condition(test: ast.expr) -> bool:
    """Return whether a condition consists of parameters, literals, operators and a few functions, and so can be computed here."""
    calls = [part for part in ast.walk(test) if isinstance(part, ast.Call)]
    return all(isinstance(part, _OPERATORS) for part in ast.walk(test)) and all(
        isinstance(call.func, ast.Name) and call.func.id in _FUNCTIONS for call in calls
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
        (all parameters with defaults, only those given), as JSON values. In parameters whose name says that they name files,
        paths relative to the working folder are made absolute; other text is unchanged.

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
    checked, found = _validated(declared.types, given, Found())
    for condition in declared.conditions:
        _expect(condition, checked)
    for group in ("Model", "OtherModel"):
        shared_badge(found.of(group))
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

    These are the values of parameters declared with the types `Model` and `OtherModel` (also inside lists, dicts and unions:
    `list[Model]`, `Model | None`), and every text that is the short name or hub id of a checkpoint of a known family, whatever
    its declared type. A folder or the hub id of another model is found only where the type says so. `parameters` are all, as
    `check` returns them.
    """
    found = Found()
    declared_in(notebook).types.model_validate(dict(parameters), context=found)
    named = set(found.of("Model", "OtherModel")) | {
        name for family in families() for one in family.checkpoints for name in (one.name, one.hub_id)
    }
    return list(dict.fromkeys(text for text in texts_in(dict(parameters)) if text in named))


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


def _expect(condition: ast.Assert, values: Mapping[str, Any]) -> None:
    test = ast.unparse(condition.test)
    names = {part.id for part in ast.walk(condition.test) if isinstance(part, ast.Name)} - _FUNCTIONS.keys()
    try:
        holds = eval(test, {"__builtins__": {}, **_FUNCTIONS}, dict(values))
    except (TypeError, NameError) as error:
        raise BadInput(f"the condition {test} of the parameters cell cannot be computed: {error}") from error
    if not holds:
        said = (
            str(condition.msg.value) if isinstance(condition.msg, ast.Constant) else f"{test} does not hold"
        )
        got = ", ".join(f"{name} = {value!r}" for name, value in values.items() if name in names)
        raise BadInput(f"{said}; got {got}")


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


def _not_plain(file: str, statement: ast.stmt) -> str:
    return (
        f"{file}: line {statement.lineno} of the parameters cell, {ast.unparse(statement)!r}, is neither "
        "`name: type = literal` nor a condition on parameters (`assert folds >= 2`) – only those can be checked – move "
        "anything else to the next cell"
    )
