"""What a notebook's cell tagged `parameters` declares: one `name: type = literal` a line, and conditions between parameters.

Types are Python's own, `Literal`, and those of `workbench.runs.types`; a condition is as `assert folds >= 2, "give at least two
parts"`. The cell is read by `ast` and never executed.
"""

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, Union

from pydantic import BaseModel, ConfigDict, create_model

from workbench.errors import BadInput
from workbench.runs.notebooks import Notebook
from workbench.runs.secrets import refuse_secret
from workbench.runs.types import DECLARED

_TYPES: dict[str, Any] = {kind.__name__: kind for kind in (str, int, float, bool, list, dict)} | DECLARED
_STRICT = ConfigDict(extra="forbid", strict=True, frozen=True, validate_default=True, protected_namespaces=())
_FUNCTIONS = {"all": all, "bool": bool, "len": len, "set": set}
_OPERATORS = (
    ast.Compare, ast.cmpop, ast.BoolOp, ast.boolop, ast.Not, ast.UnaryOp, ast.USub, ast.BinOp, ast.Add, ast.Sub, ast.BitAnd,
    ast.BitOr, ast.Call, ast.Name, ast.Load, ast.Constant, ast.List, ast.Tuple,
)  # fmt: skip


@dataclass(frozen=True)
class Declared:
    """What a `parameters` cell declares: types and defaults as a pydantic model, and conditions between parameters.

    `kinds` has the name of the type of parameters whose values are names, also inside lists.
    """

    types: type[BaseModel]
    conditions: tuple[ast.Assert, ...]
    kinds: Mapping[str, str]

    @property
    def defaults(self) -> dict[str, Any]:
        """The default of each parameter."""
        return {name: field.default for name, field in self.types.model_fields.items()}

    def expect(self, values: Mapping[str, Any]) -> None:
        """Check the conditions.

        Raises:
            BadInput: one does not hold for these values, or cannot be computed.
        """
        for condition in self.conditions:
            _expect(condition, values)


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
    kinds: dict[str, str] = {}
    for statement in statements:
        match statement:
            case ast.Expr(value=ast.Constant()) | ast.ImportFrom(module="typing" | "workbench.runs", level=0):
                continue  # a docstring, or the types, which are known here without an import
            case ast.Assert(test=test, msg=None | ast.Constant()) if _is_condition(test):
                conditions.append(statement)
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr()) if not name.startswith("_"):
                fields[name] = _field(file, statement)
                parts = (part.id for part in ast.walk(statement.annotation) if isinstance(part, ast.Name))
                kinds[name] = next((part for part in parts if part in DECLARED), "")
            case ast.Assign(targets=[ast.Name(id=name)]) if not name.startswith("_"):
                fields[name] = _field(file, statement)
            case _:
                raise BadInput(_not_plain(file, statement))
    for name, (_, default) in fields.items():
        refuse_secret(name, default)
    types = create_model(file, __config__=_STRICT, **fields)  # type: ignore[call-overload]
    return Declared(types, tuple(conditions), kinds)


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


def _not_plain(file: str, statement: ast.stmt) -> str:
    return (
        f"{file}: line {statement.lineno} of the parameters cell, {ast.unparse(statement)!r}, is neither "
        "`name: type = literal` nor a condition on parameters (`assert folds >= 2`) – only those can be checked – move "
        "anything else to the next cell"
    )
