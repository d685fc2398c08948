"""The folder of a run: written by one process at a time, and visible only when complete.

It is written under a hidden name, renamed when complete, and marked with `_SUCCESS` last. A run that failed or was
interrupted is moved to `<run_id>.failed-N`. Unix only (flock).
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
    """Return the manifest of a finished run, or None.

    A run counts as finished if it is marked and every file it lists is unchanged. A run during which one of its inputs changed
    does not count, since its id does not identify what it read.
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
    """Yield the path of a hidden folder for this run, under an exclusive lock; what a dead process left there is set aside.

    The operating system releases the lock when the process ends, however it ends.

    Args:
        place: The folder of the notebook's runs.
        run_id: The run.
        wait: Wait for another process that holds the lock, rather than raise.

    Raises:
        BadInput: another process holds the lock.
    """
    with (place / f".{run_id}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise BadInput(
                f"another process is executing the run {run_id}; wait until it ends, or stop it"
            ) from None
        part, old = place / f".{run_id}.part", place / f".{run_id}.old"
        if old.exists() and not (place / run_id / MARK).exists():  # died between the steps of `publish`
            shutil.rmtree(place / run_id, ignore_errors=True)
            old.rename(place / run_id)
        if part.exists():
            set_aside(part, place / run_id)
        yield part


def set_aside(part: Path, final: Path) -> Path:
    """Rename an unsuccessful run to `<run_id>.failed-N`, with the first N that is free, and return the new path."""
    number = 1
    while (kept := final.with_name(f"{final.name}.failed-{number}")).exists():
        number += 1
    return part.rename(kept)


def publish(part: Path, final: Path) -> None:
    """Move a complete folder into place and mark it; an earlier success is deleted only after that."""
    old = final.with_name(f".{final.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        final.rename(old)
    part.rename(final)
    (final / MARK).touch()
    shutil.rmtree(old, ignore_errors=True)


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a run except its manifest and its mark, by relative path."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    names = [str(path.relative_to(folder)) for path in paths]
    return {name: _digest(folder / name) for name in names if name not in _NO_PART_OF_IT}


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()
