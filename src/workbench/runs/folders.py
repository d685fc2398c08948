"""The folder of a run, visible only when complete.

It is written under a hidden name, renamed when complete, and marked with `_SUCCESS` last. A run that failed or was
interrupted is moved to `<run_id>.failed-N`.
"""

import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

from workbench.atomic import read_json

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


def restore(final: Path) -> None:
    """Put an earlier success back in place if a process died between the steps of `publish`."""
    old = _earlier(final)
    if old.exists() and not (final / MARK).exists():
        shutil.rmtree(final, ignore_errors=True)
        old.rename(final)


def set_aside(part: Path, final: Path) -> Path:
    """Rename an unsuccessful run to `<run_id>.failed-N`, with the first N that is free, and return the new path."""
    number = 1
    while (kept := final.with_name(f"{final.name}.failed-{number}")).exists():
        number += 1
    return part.rename(kept)


def publish(part: Path, final: Path) -> None:
    """Move a complete folder into place and mark it; an earlier success is deleted only after that.

    Raises:
        FileNotFoundError: another process has set the folder aside.
    """
    old = _earlier(final)
    part.stat()  # raises before anything is changed
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        final.rename(old)
    part.rename(final)
    (final / MARK).touch()
    shutil.rmtree(old, ignore_errors=True)


def _earlier(final: Path) -> Path:
    return final.with_name(f".{final.name}.old")


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a run except its manifest and its mark, by relative path."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    names = [str(path.relative_to(folder)) for path in paths]
    return {name: _digest(folder / name) for name in names if name not in _NO_PART_OF_IT}


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()
