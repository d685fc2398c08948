"""Call a student's function in a fresh process with limits, and return what each call returned, as plain JSON values.

Where the system allows it (Linux with user namespaces), the process has a network of its own without interfaces and a process
tree of its own that ends with it. Elsewhere the hook of `worker` alone refuses network and processes, and a kill reaches its process group.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

_READY = b"ready"  # the first line of the worker
NOT_ANSWERED = "Not answered yet."
_TRAVEL = "Only `def`, imports and plain literals (`N = 4`) travel; no lambdas, no computed constants."
_WORKER = Path(__file__).with_name("worker.py")
_FIRST = [
    "sh",
    "-c",
    '"$@"; exit $?',
    "sh",
]  # limits do not end the first process of a tree: let it be a shell
_NAMESPACES = [
    "unshare",
    "--user",
    "--map-current-user",
    "--net",
    "--ipc",
    "--pid",
    "--fork",
    "--kill-child=KILL",
    *_FIRST,
]
_WAITING = 4  # wall-clock limit, as a multiple of the limit on processor time


@dataclass(frozen=True)
class Limits:
    """What a function may take: seconds of processor time, bytes of memory, bytes of what it returns."""

    seconds: int = 20
    memory: int = 2**31
    output: int = 2**24


@dataclass(frozen=True)
class Returned:
    """What a call returned, or the sentence that says why it returned nothing."""

    value: Any = None
    failure: str = ""


def call_apart(
    code: Sequence[str], function: str, calls: Sequence[Sequence[Any]], limits: Limits
) -> list[Returned]:
    """Define a function in a fresh process, call it, and return one result per call.

    The process ends at the first call that exceeds a limit; that call and those after it return its reason.

    Args:
        code: Statements that define the function and what it uses.
        calls: The arguments of each call: arrays, numbers, texts, lists and dicts.

    Raises:
        RuntimeError: the process did not start, which is no fault of the code.
    """
    order = {**asdict(limits), "code": list(code), "function": function, "calls": _encoded(list(calls))}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        (Path(folder) / "order").write_text(json.dumps(order), encoding="utf-8")
        place = Path(folder) / "empty"
        place.mkdir()
        with (
            (Path(folder) / "order").open("rb") as orders,
            (Path(folder) / "answers").open("a+b") as answers,
        ):  # nothing that was written can be overwritten
            reason = _run(orders, answers, place, limits)
            answers.seek(0)
            ready, *lines = answers.read(limits.output).split(b"\n")
    if ready != _READY:
        raise RuntimeError("the process for a graded function did not start; is the machine short of memory?")
    found = [_read(line) for line in lines[:-1][: len(calls)]]
    return found + [Returned(failure=reason)] * (len(calls) - len(found))


def _run(orders: BinaryIO, answers: BinaryIO, place: Path, limits: Limits) -> str:
    """Run the worker, and return why it may have ended early."""
    child = subprocess.Popen(
        [*_namespaces(), sys.executable, "-I", str(_WORKER)], stdin=orders, stdout=answers, stderr=subprocess.DEVNULL,
        cwd=place, start_new_session=True, env={"PATH": os.defpath, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    too_long = f"It took longer than {limits.seconds} seconds: look for a loop that does not end."
    try:
        code = child.wait(_WAITING * limits.seconds)
    except subprocess.TimeoutExpired:
        return too_long
    finally:
        _end(child)
    if code in {start for each in (signal.SIGXCPU, signal.SIGKILL) for start in (-each, 128 + each)}:
        return too_long
    return "It ended the process that called it, or returned more than can be read."


def _end(child: subprocess.Popen[bytes]) -> None:
    """Kill a process with its children."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


@cache
def _namespaces() -> list[str]:
    """Return the words that start a command in namespaces of its own, or none where that is not allowed."""
    try:
        works = subprocess.run([*_NAMESPACES, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        works = False
    return _NAMESPACES if works else []


def is_isolated() -> bool:
    """Return whether functions are called in a network and a process tree of their own."""
    return bool(_namespaces())


def _encoded(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return {"__array__": value.ravel().tolist(), "dtype": value.dtype.str, "shape": value.shape}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {key: _encoded(part) for key, part in value.items()}
    return [_encoded(part) for part in value] if isinstance(value, list | tuple) else value


def _read(line: bytes) -> Returned:
    """Return what a line of the worker says; a line that code forged is no more than a value."""
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        return Returned(failure="What it returned cannot be read.")
    if not isinstance(said, dict) or "value" not in said:
        return Returned(failure=_sentence(said))
    return Returned(said["value"])


def _sentence(said: Any) -> str:
    kind, error = (
        (str(said.get(key, "")) for key in ("kind", "error")) if isinstance(said, dict) else ("", "")
    )
    if kind == "NotImplementedError":
        return NOT_ANSWERED
    if kind == "MemoryError":
        return "It needs more memory than it may have."
    if kind == "NameError":
        return f"It raised {error[:300]}. {_TRAVEL}"
    return f"It raised {error[:300]}" if error else "What it returned cannot be read."
