"""A student's notebook as data: who handed it in, the definitions in its code, its typed choices and its paragraphs.

Nothing of the notebook is executed here. Of its code only imports, functions, classes and constants count, and of these only
what the graded function uses, so neither a cell's output nor a cell that fails plays a part.
"""

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from workbench.errors import BadInput
from workbench.runs.notebooks import Notebook, tags
from workbench.runs.parameter_cell import declared_in

NO_ANSWER = "YOUR ANSWER HERE"  # where a paragraph is asked for
_STUDENT = re.compile(r"\w[\w.@-]{0,63}")  # also in a spreadsheet, where "=" or "+" would begin a formula
_UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(frozen=True)
class Submission:
    """A notebook that was handed in, the course's own, whose locked cells count instead of the student's, and whose it is."""

    notebook: Notebook
    provided: Notebook
    student: str

    @cached_property
    def statements(self) -> tuple[ast.stmt, ...]:
        """The statements of the provided cells, then of the student's; a cell that is not Python has none."""
        return tuple(each for source in self._sources() for each in _parsed(source))

    def definition_of(self, function: str) -> list[str] | None:
        """Return the statements that define a function and what it uses, in order, or None if nothing defines it."""
        useful = [(names, each) for each in self.statements if (names := _bound(each))]
        if not any(function in names for names, each in useful if isinstance(each, _DEFINITIONS)):
            return None
        wanted, before = {function}, 0
        while len(wanted) > before:
            before = len(wanted)
            for names, each in useful:
                wanted |= _used(each) if names & wanted else set()
        return [ast.unparse(each) for names, each in useful if names & wanted]

    def constant(self, name: str) -> Any:
        """Return the literal that is assigned to a name last, or None."""
        found = None
        for each in self.statements:
            found = _literals(each).get(name, found)
        return found

    def paragraph(self, cell: str) -> str:
        """Return the text of a Markdown cell, empty if it was deleted."""
        return next(
            (one["source"] for one in self.notebook.cells if grading_of(one).get("grade_id") == cell), ""
        )

    def _sources(self) -> Iterator[str]:
        fixed = {
            grading_of(cell).get("grade_id") for cell in self.provided.code if not _is_students(cell)
        } - {None}
        yield from (cell["source"] for cell in self.provided.code if _is_given(cell))
        for cell in self.notebook.code:
            if grading_of(cell).get("grade_id") not in fixed and "parameters" not in tags(cell):
                yield cell["source"]


def student_of(notebook: Notebook) -> str:
    """Return the id in the parameter `student`, or an empty text.

    Raises:
        BadInput: not an id of letters, digits and "._@-", or a parameters cell with something else in it.
    """
    name = str(declared_in(notebook).defaults.get("student", ""))
    if name and not _STUDENT.fullmatch(name):
        raise BadInput(
            f"{notebook.path}: student = {name!r} is not an id; use letters, digits and . _ @ -, at most 64"
        )
    return name


def grading_of(cell: dict[str, Any]) -> dict[str, Any]:
    """Return what nbgrader's format says of a cell, empty for others."""
    found = cell["metadata"].get("nbgrader")
    return found if isinstance(found, dict) else {}


def _is_students(cell: dict[str, Any]) -> bool:
    return bool(grading_of(cell).get("solution"))


def _is_given(cell: dict[str, Any]) -> bool:
    """Return whether a cell is provided for use: locked, and not one that shows what is graded."""
    about = grading_of(cell)
    return bool(about.get("locked")) and not about.get("grade")


def _parsed(source: str) -> list[ast.stmt]:
    plain = "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in source.split("\n"))
    try:
        return ast.parse(plain).body
    except _UNREADABLE:
        return []


def syntax_error(sources: Sequence[str]) -> str:
    """Return the first syntax error of code cells as a sentence, or an empty text."""
    for source in sources:
        try:
            ast.parse(source)
        except SyntaxError as error:
            return f"a cell is not Python (line {error.lineno}: {error.msg})"
        except _UNREADABLE:
            return "a cell is not Python"
    return ""


def _bound(statement: ast.stmt) -> set[str]:
    """Return the names that an import, a definition or the assignment of a literal binds; none for other statements."""
    match statement:
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            return {(each.asname or each.name).split(".")[0] for each in names}
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return {name}
    return {*_literals(statement)}


def _literals(statement: ast.stmt) -> dict[str, Any]:
    """Return the literals that an assignment gives to names, as in `N = 4`, `a = b = "x"` and `a, b = "x", 0`."""
    match statement:
        case ast.Assign(targets=targets, value=value):
            pass
        case ast.AnnAssign(target=target, value=ast.expr() as value):
            targets = [target]
        case _:
            return {}
    try:
        literal = ast.literal_eval(value)
        return {name: each for target in targets for name, each in _pairs(target, literal)}
    except (*_UNREADABLE, TypeError):
        return {}


def _pairs(target: ast.expr, literal: Any) -> list[tuple[str, Any]]:
    """Return names with their literals; ValueError for a target that is neither a name nor as many names as there are values."""
    match target:
        case ast.Name(id=name):
            return [(name, literal)]
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            return [pair for part, each in zip(parts, literal, strict=True) for pair in _pairs(part, each)]
    raise ValueError(ast.unparse(target))


def _used(statement: ast.stmt) -> set[str]:
    return {part.id for part in ast.walk(statement) if isinstance(part, ast.Name)}
