"""A digest of the code that determines what a member reads, independent of comments, docstrings and layout."""

import ast
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from workbench.paths import PACKAGE

MODULES = (
    *(
        f"miniatures/{name}"
        for name in ("world", "corpus", "questions", "items", "examples", "rows", "architectures")
    ),
    *(f"workbench/training/{name}" for name in ("batches", "loop")),
)
_OURS = ("workbench", "miniatures")


@cache
def source_digest(sources: Path = PACKAGE.parent) -> str:
    """Return the digest of `MODULES` below a folder (by default the one that contains this package)."""
    texts = [(sources / f"{name}.py").read_text(encoding="utf-8") for name in MODULES]
    return hashlib.sha256(json.dumps([syntax(text) for text in texts]).encode()).hexdigest()


def syntax(text: str) -> Any:
    """Return a module's syntax tree as lists, without docstrings, positions, and where in our packages imported names come from.

    `ast.dump` is not used because its text differs between versions of Python, in the empty fields that it prints.
    """
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and ast.get_docstring(node) is not None
        ):
            node.body = node.body[1:]
        elif isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] in _OURS:
            node.module = None
    ours = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module is None]
    rest = [node for node in tree.body if node not in ours]
    tree.body = [*sorted(ours, key=lambda node: [each.name for each in node.names]), *rest]
    return _plain(tree)


def _plain(value: Any) -> Any:
    if isinstance(value, ast.AST):
        fields = [(name, _plain(found)) for name, found in ast.iter_fields(value) if found not in (None, [])]
        return [type(value).__name__, fields]
    return [_plain(one) for one in value] if isinstance(value, list) else repr(value)
