"""The folder of a run: claimed by one process, whole or not there, never half.

It is written under a hidden name, renamed when whole, and marked `_SUCCESS` last. What failed or was cut off is set
aside as `<run_id>.failed-N`. Unix only (flock).
"""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from workbench.atomic import read_json
from workbench.errors import BadInput

MARK = "_SUCCESS"
_NO_PART_OF_IT = {MARK, "run.json"}


def finished(folder: Path) -> dict[str, Any] | None:
    """The manifest of a run that is there, marked and with every file it lists as it was written; else None.

    A run during which something that it reads changed does not count: its id does not say what it read.
    """
    if not (folder / MARK).exists():
        return None
    try:
        manifest = read_json(folder / "run.json")
        kept = {name: _digest(folder / name) for name in manifest.get("files", {})}
    except (OSError, ValueError, RecursionError, AttributeError):
        return None
    return manifest if kept == manifest.get("files") and not manifest.get("changed_meanwhile") else None


@contextmanager
def claimed(place: Path, run_id: str, *, wait: bool = False) -> Iterator[Path]:
    """A fresh hidden folder for this run, held against other processes; a dead one's leftovers are set aside.

    The operating system lets the lock go when its process ends, however it ends.

    Args:
        place: The folder of the notebook's runs.
        run_id: The run.
        wait: Wait for another process that holds it, rather than refuse.

    Raises:
        BadInput: another process holds it.
    """
    with (place / f".{run_id}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise BadInput(
                f"the run {run_id} is going on in another process; wait for it or end it"
            ) from None
        part, old = place / f".{run_id}.part", place / f".{run_id}.old"
        if old.exists() and not (place / run_id / MARK).exists():  # ended between the two steps of `publish`
            shutil.rmtree(place / run_id, ignore_errors=True)
            old.rename(place / run_id)
        if part.exists():
            set_aside(part, place / run_id)
        yield part


def set_aside(part: Path, final: Path) -> Path:
    """Keep what there is of a run as `<run_id>.failed-N`, N counting up."""
    number = 1
    while (kept := final.with_name(f"{final.name}.failed-{number}")).exists():
        number += 1
    return part.rename(kept)


def publish(part: Path, final: Path) -> None:
    """Put a whole folder in its place and mark it; an earlier success goes only when the new one stands."""
    old = final.with_name(f".{final.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        final.rename(old)
    part.rename(final)
    (final / MARK).touch()
    shutil.rmtree(old, ignore_errors=True)


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a run but its manifest and its mark, by its path in the folder."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    names = [str(path.relative_to(folder)) for path in paths]
    return {name: _digest(folder / name) for name in names if name not in _NO_PART_OF_IT}


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()
