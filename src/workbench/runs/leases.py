"""Leases on GPUs: each GPU serves one run at a time, over all sweeps of this user on this machine.

A lease is a locked file; the operating system releases it when the process that holds it ends, however it ends.
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from typing import IO

from workbench.errors import BadInput
from workbench.runs.identity import gpus


def visible_gpus() -> list[str]:
    """Return the GPUs that this process may use, as CUDA numbers them."""
    count = len(gpus())
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if count == 0 or named is None:
        return [str(number) for number in range(count)]
    return [name.strip() for name in named.split(",") if name.strip() not in ("", "-1")]


@contextmanager
def leased(devices: Sequence[str], count: int) -> Iterator[dict[str, str]]:
    """Wait for `count` of the devices, and yield the environment variables that make only these visible.

    Raises:
        BadInput: `count` exceeds the number of devices.
    """
    if not devices or count == 0:
        yield {}
        return
    if count > len(devices):
        raise BadInput(f"{count} GPUs for each run, but there are {len(devices)}; ask for fewer")
    folder = Path(tempfile.gettempdir()) / f"workbench-gpus-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    while len(held := _take(folder, devices, count)) < count:
        sleep(0.2)
    try:
        yield {"CUDA_VISIBLE_DEVICES": ",".join(held)}
    finally:
        _let_go(held)


def _take(folder: Path, devices: Sequence[str], count: int) -> dict[str, IO[str]]:
    """Lock `count` of the devices, or none of them."""
    held: dict[str, IO[str]] = {}
    for device in devices:
        lock = (folder / f"{device}.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        held[device] = lock
        if len(held) == count:
            return held
    _let_go(held)
    return {}


def _let_go(held: dict[str, IO[str]]) -> None:
    for lock in held.values():
        lock.close()
