"""Claims on runs: of all processes on all machines that share a disk, one executes a run at a time.

A claim is a file, `.<run_id>.<number>.claim`, which only one process can create, on network file systems too, where locks do
not hold. It names the process, which renews the file's time. The claim is void once that process has ended, or, since another
machine cannot know, three minutes after the last renewal; whoever then creates the file of the next number has the claim. Each
process writes in a folder of its own, `.<run_id>.<token>.part`, so a process that was suspended until its claim was void does
not mix its files with those of its successor, which sets the folder aside: the run of the first ends with an error.
"""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from tempfile import NamedTemporaryFile
from threading import Event, Thread
from time import sleep
from typing import Any

import psutil

from workbench.errors import BadInput
from workbench.runs.folders import restore, set_aside

_RENEWAL = 20.0  # seconds
_VOID = 180.0  # seconds; on a network file system others see a file's time up to a minute late
_PAUSE = 0.5  # seconds between two looks at the claim of another process


@contextmanager
def claimed(place: Path, run_id: str, *, wait: bool = False) -> Iterator[Path]:
    """Yield a new hidden folder for a run that this process has claimed; what a dead process left of the run is set aside.

    Args:
        place: The folder of the notebook's runs.
        run_id: The run.
        wait: Wait for another process that has claimed it, rather than raise.

    Raises:
        BadInput: another process has claimed it.
    """
    me = {"machine": _machine(), "process": os.getpid(), "token": token_hex(4)}
    claim, end, final = _claim(place, run_id, me, wait=wait), Event(), place / run_id
    Thread(target=_renew, args=(claim, end), daemon=True).start()
    try:
        for left in place.glob(f".{run_id}.*.part"):
            set_aside(left, final)
        restore(final)
        part = place / f".{run_id}.{me['token']}.part"
        part.mkdir()
        try:
            yield part
        finally:
            with suppress(OSError):
                part.rmdir()  # nothing was written
            if part.exists():
                set_aside(part, final)
    finally:
        end.set()
        if _owner(claim) == me:
            claim.unlink()


def _claim(place: Path, run_id: str, me: dict[str, Any], *, wait: bool) -> Path:
    """Create the claim's file, once every earlier one is void."""
    while True:
        claims = sorted(place.glob(f".{run_id}.*.claim"), key=_number)
        if not claims or _is_void(claims[-1]):
            claim = place / f".{run_id}.{_number(claims[-1]) + 1 if claims else 1}.claim"
            with suppress(FileExistsError), claim.open("x") as file:
                json.dump(me, file)
                for void in claims:
                    void.unlink(missing_ok=True)
                return claim
        if not wait:
            raise BadInput(f"another process is executing the run {run_id}; wait until it ends, or stop it")
        sleep(_PAUSE)


def _number(claim: Path) -> int:
    return int(claim.suffixes[-2][1:])


def _owner(claim: Path) -> dict[str, Any]:
    """Return what a claim says of its process; nothing if it has ended or is being written."""
    with suppress(OSError, ValueError):
        return dict(json.loads(claim.read_text()))
    return {}


def _is_void(claim: Path) -> bool:
    """Return whether the process that made a claim has ended or renews it no more."""
    owner = _owner(claim)
    if owner.get("machine") == _machine() and _has_ended(owner["process"]):
        return True
    with (
        suppress(OSError),
        NamedTemporaryFile(dir=claim.parent, prefix=".") as now,
    ):  # by the clock of the disk
        return os.stat(now.name).st_mtime - claim.stat().st_mtime > _VOID
    return False


def _has_ended(process: int) -> bool:
    try:
        return psutil.Process(process).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _renew(claim: Path, end: Event) -> None:
    while not end.wait(_RENEWAL):
        with suppress(OSError):
            os.utime(claim)


def _machine() -> str:
    """Return a name under which process ids are unique: containers may share that of their host."""
    with suppress(OSError):
        return f"{socket.gethostname()} {os.stat('/proc/self/ns/pid').st_ino}"
    return socket.gethostname()
