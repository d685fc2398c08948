"""Kill the processes that a run leaves behind, found by descent and by their environment.

A subprocess of a notebook may lead its own session, so that no signal to a process group reaches it, and may outlive its
parent. Where the system has subreapers (Linux), the process of a run is one: its orphaned descendants become its children.
"""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import suppress

import psutil

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_GONE = (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess)


def adopt_orphans() -> None:
    """Make this process the parent of its orphaned descendants; no effect on systems without subreapers."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_below(pid: int) -> None:
    """Kill all descendants of a process, including those that start meanwhile; processes of other users are skipped."""
    ended: set[psutil.Process] = set()
    while below := [process for process in _below(pid) if process not in ended]:
        for process in below:
            with suppress(*_GONE):
                process.kill()
        ended.update(below)


def end_marked(variable: str, value: str) -> None:
    """Kill every process whose environment has this variable with this value."""
    for process in psutil.process_iter():
        with suppress(*_GONE, OSError):
            if process.environ().get(variable) == value:
                process.kill()


def _below(pid: int) -> Iterator[psutil.Process]:
    with suppress(*_GONE):
        yield from psutil.Process(pid).children(recursive=True)
