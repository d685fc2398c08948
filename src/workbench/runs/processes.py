"""The processes that a run leaves behind, found by descent and by their environment, and ended.

A notebook's subprocess may lead a session of its own, so that no signal to a process group reaches it; it may outlive its
parent. Where the system has subreapers (Linux), a run's own process is one: what is orphaned below it stays below it.
"""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import suppress

import psutil

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_GONE = (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess)


def adopt_orphans() -> None:
    """Make this process the parent of what is orphaned below it; a no-op where the system cannot."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_below(pid: int) -> None:
    """End every process below one, also those that come up meanwhile; those of other users are left."""
    ended: set[psutil.Process] = set()
    while below := [process for process in _below(pid) if process not in ended]:
        for process in below:
            with suppress(*_GONE):
                process.kill()
        ended.update(below)


def end_marked(variable: str, value: str) -> None:
    """End every process that was started with this environment variable."""
    for process in psutil.process_iter():
        with suppress(*_GONE, OSError):
            if process.environ().get(variable) == value:
                process.kill()


def _below(pid: int) -> Iterator[psutil.Process]:
    with suppress(*_GONE):
        yield from psutil.Process(pid).children(recursive=True)
