"""Static analysis of a notebook's code: the modules beside it that it imports, and the paths it names."""

import ast
from collections.abc import Iterable, Iterator, Set
from importlib import import_module
from pathlib import Path
from typing import TypeGuard

_TARGETS = ("write_text", "write_bytes", "mkdir", "touch")  # methods of a path that write to it
_WRITERS = (
    "to_",
    "save",
    "dump",
    "export",
    "write_",
    "makedirs",
)  # prefixes of functions that take the path to write to


def parsed(source: str) -> ast.Module | None:
    """Parse code, with IPython magics as calls; return None if it is not Python, in which case its run will fail."""
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        transform = import_module("IPython.core.inputtransformer2").TransformerManager().transform_cell
    try:
        return ast.parse(transform(source))
    except (SyntaxError, ValueError, RecursionError):
        return None


def modules_beside(trees: Iterable[ast.AST], folder: Path) -> dict[str, ast.AST]:
    """Return the modules in `folder` that the code imports, directly or through each other, as relative path → syntax tree."""
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
    """Yield the dotted names that the imports may refer to: `from a import b` may refer to the module a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}".strip(".") for alias in node.names)


def _module_files(folder: Path, name: str) -> Iterator[Path]:
    """Yield the files that run when a dotted name is imported: each package on the way, and the module."""
    parts = name.split(".")
    for depth in range(1, len(parts) + 1):
        place = folder.joinpath(*parts[:depth])
        yield from filter(Path.is_file, (place / "__init__.py", place.with_name(f"{place.name}.py")))


def texts(tree: ast.AST, written: Set[str]) -> set[str]:
    """Return the strings in code that may be paths to read; in magics, each word. Strings that are only written to are left out.

    Args:
        tree: The syntax tree.
        written: Variables that hold paths which are written to (`written_names`).
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
    """Return the variables that hold a path which the code writes to."""
    return {target.id for target in _written(tree) if isinstance(target, ast.Name)}


def _written(tree: ast.AST) -> Iterator[ast.expr]:
    """Yield the expressions for paths that are written to."""
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
    """Yield the string constants that make up a path: "a", Path("a"), Path("a") / "b"."""
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
