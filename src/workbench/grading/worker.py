"""The process in which a student's function is called: limits first, then the code, then one line of JSON per call.

It is started by its path and imports nothing of workbench, so it shares nothing with the grader and holds neither checks nor
expected values. From the moment a student's code runs, an audit hook refuses processes, sockets, foreign libraries, writing, and
reading outside the Python installation; such a hook cannot be removed from Python. Code that attacks the interpreter itself
(through a fault of a compiled library) could evade it.
"""

import ctypes
import json
import os
import resource
import sys
import sysconfig
from typing import Any

import numpy as np

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_READS = frozenset({"open", "os.listdir", "os.scandir", "glob.glob"})
_REFUSED = (
    "os.", "subprocess.", "socket.", "ctypes.", "shutil.", "resource.", "pty.", "fcntl.", "mmap.", "signal.", "syslog.", "webbrowser.",
    "urllib.", "ftplib.", "smtplib.", "sqlite3.", "tempfile.", "gc.", "code.", "pathlib.", "_posixsubprocess.",
)  # fmt: skip
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
READY = "ready"  # first line: what ends the process from here on is the code's doing
_TEXT = 300  # characters of an error


def main() -> None:
    """Read an order from stdin, and answer it call by call."""
    order = json.load(sys.stdin)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # what the code prints is dropped
        os.dup2(nothing, stream)
    _limit(resource.RLIMIT_AS, order["memory"])
    _limit(resource.RLIMIT_CPU, order["seconds"])
    _limit(resource.RLIMIT_FSIZE, order["output"])
    _limit(resource.RLIMIT_CORE, 0)
    answers.write(READY + "\n")
    answers.flush()
    refuse()
    names: dict[str, Any] = {"__name__": "submission"}
    for statement in order["code"]:
        _define(statement, names)
    for arguments in order["calls"]:
        answers.write(_answer(names.get(order["function"]), arguments) + "\n")
        answers.flush()


def refuse() -> None:
    """Refuse, from now on, what a function on arrays has no use for.

    The hook uses only values bound here and methods of built-in types, since code could replace anything else.
    """
    roots = {sys.prefix, sys.base_prefix, *sysconfig.get_paths().values(), *filter(os.path.isabs, sys.path)}
    inside = tuple(one.rstrip(os.sep) + os.sep for root in roots for one in (root, os.path.realpath(root)))
    package = tuple(f"{one}{os.sep}" for one in (_PACKAGE, os.path.realpath(_PACKAGE)))
    reads, refused, writing, separator = _READS, _REFUSED, _WRITING, os.sep
    kind, text, number, refusal = type, str, int, PermissionError

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in reads:
            path = arguments[0]
            if kind(path) is number:
                return
            flags = arguments[2] if event == "open" else 0
            known = kind(path) is text and f"{path}{separator}".startswith(inside) and "/../" not in path
            if not known or path.startswith(package) or (kind(flags) is number and flags & writing):
                raise refusal("a graded function may not use files")
        elif event == "import" and kind(arguments[0]) is text and arguments[0].startswith("workbench"):
            raise refusal("a graded function may not use workbench; write it with Python and numpy")
        elif event.startswith(refused) and event != "os.putenv":
            raise refusal(f"a graded function may not use {event}")

    sys.addaudithook(hook)


def _define(statement: str, names: dict[str, Any]) -> None:
    """Execute an import, a definition or the assignment of a constant; one that fails leaves its name undefined."""
    try:
        exec(compile(statement, "<submission>", "exec"), names)
    except BaseException:  # noqa: BLE001  a name that cannot be defined is missed when it is used
        return


def _answer(function: Any, arguments: list[Any]) -> str:
    if function is None:
        return json.dumps({"error": "an error where it is defined, before it is called"})
    try:
        return json.dumps({"value": _plain(function(*map(_decoded, arguments)))})
    except BaseException as error:  # noqa: BLE001  whatever it raises is its answer
        return json.dumps({"error": _shown(error), "kind": type(error).__name__})


def _shown(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"[:_TEXT]
    except BaseException:  # noqa: BLE001  an error may raise when it is worded
        return type(error).__name__[:_TEXT]


def _decoded(value: Any) -> Any:
    if isinstance(value, dict):
        if "__array__" in value:
            return np.array(value["__array__"], dtype=value["dtype"]).reshape(value["shape"])
        return {key: _decoded(part) for key, part in value.items()}
    return [_decoded(part) for part in value] if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    """Return a value as what JSON can represent."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        return {str(_plain(key)): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(part) for part in value]
    if hasattr(value, "tolist"):  # arrays and numbers of numpy, columns of pandas
        return _plain(value.tolist())
    raise TypeError(f"it returned a {type(value).__name__}; return numbers, texts, lists, dicts or arrays")


def _limit(what: int, amount: int) -> None:
    _, hard = resource.getrlimit(what)
    allowed = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
    try:
        resource.setrlimit(what, (allowed, allowed))
    except (ValueError, OSError):  # the system lacks this limit; those on time and output remain
        return


if __name__ == "__main__":
    _ = ctypes  # imported before the hook, which refuses what importing it does
    main()
