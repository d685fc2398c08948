"""What a notebook's code says without being run: the modules beside it that it imports, and the paths it names."""

import ast
from collections.abc import Iterable, Iterator, Set
from importlib import import_module
from pathlib import Path
from typing import TypeGuard

_TARGETS = ("write_text", "write_bytes", "mkdir", "touch")  # methods of the path that is written
_WRITERS = (
    "to_",
    "save",
    "dump",
    "export",
    "write_",
    "makedirs",
)  # beginnings of functions that are given the path


def parsed(source: str) -> ast.Module | None:
    """The code as a tree, IPython's magic as calls; None where it is not Python (its run will say so)."""
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        transform = import_module("IPython.core.inputtransformer2").TransformerManager().transform_cell
    try:
        return ast.parse(transform(source))
    except (SyntaxError, ValueError, RecursionError):
        return None


def modules_beside(trees: Iterable[ast.AST], folder: Path) -> dict[str, ast.AST]:
    """The modules in `folder` that the code imports, and those that they import: relative path → code."""
    found: dict[str, ast.AST] = {}
    waiting = [name for tree in trees for name in _imported(tree, ())]
    while waiting:
        for file in _module_files(folder, waiting.pop()):
            relative = file.relative_to(folder)
            if relative.as_posix() not in found:
                tree = parsed(file.read_text(encoding="utf-8", errors="replace")) or ast.Module([], [])
                found[relative.as_posix()] = tree
                waiting += _imported(tree, relative.parent.parts)
    return found


def _imported(tree: ast.AST, package: tuple[str, ...]) -> Iterator[str]:
    """Dotted names that the imports may mean: `from a import b` may mean the module a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}".strip(".") for alias in node.names)


def _module_files(folder: Path, name: str) -> Iterator[Path]:
    """The files that importing a dotted name runs: each package on the way, and the module."""
    parts = name.split(".")
    for depth in range(1, len(parts) + 1):
        place = folder.joinpath(*parts[:depth])
        yield from filter(Path.is_file, (place / "__init__.py", place.with_name(f"{place.name}.py")))


def texts(tree: ast.AST, written: Set[str]) -> set[str]:
    """The texts in code that may be paths to read, those of magic word by word; not those that it only writes to.

    Args:
        tree: The code.
        written: Variables that hold paths which are written (`written_names`).
    """
    left_out = {id(node) for target in _written(tree) for node in _constants(target)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            names = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(name, ast.Name) and name.id in written for name in names):
                left_out |= {id(constant) for constant in _constants(node.value)}
    found = {str(node.value) for node in ast.walk(tree) if _is_text(node) and id(node) not in left_out}
    magic = (node for call in ast.walk(tree) if _is_magic(call) for node in ast.walk(call) if _is_text(node))
    return found | {word for node in magic for word in str(node.value).split()}


def written_names(tree: ast.AST) -> set[str]:
    """The variables that hold a path which the code writes to."""
    return {target.id for target in _written(tree) if isinstance(target, ast.Name)}


def _written(tree: ast.AST) -> Iterator[ast.expr]:
    """The expressions that stand for a path which is written."""
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        method = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        receiver = [call.func.value] if isinstance(call.func, ast.Attribute) else []
        if method in _TARGETS:
            yield from receiver
        elif method.startswith(_WRITERS):
            yield from (*call.args, *(keyword.value for keyword in call.keywords))
        elif method == "open" and _opens_to_write(call):
            yield from (*receiver, *call.args[:1])


def _opens_to_write(call: ast.Call) -> bool:
    modes = [*call.args[:2], *(keyword.value for keyword in call.keywords if keyword.arg == "mode")]
    named = [str(mode.value) for mode in modes if _is_text(mode)]
    return any(set(mode) <= set("wax+bt") and set(mode) & set("wax") for mode in named)


def _constants(node: ast.AST) -> Iterator[ast.Constant]:
    """The texts of which an expression makes a path: "a", Path("a"), Path("a") / "b"."""
    if _is_text(node):
        yield node
    elif isinstance(node, ast.BinOp):
        yield from (*_constants(node.left), *_constants(node.right))
    elif isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "Path":
        for part in node.args:
            yield from _constants(part)


def _is_text(node: ast.AST) -> TypeGuard[ast.Constant]:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _is_magic(node: ast.AST) -> bool:
    caller = node.func.value if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else None
    return isinstance(caller, ast.Call) and getattr(caller.func, "id", "") == "get_ipython"
