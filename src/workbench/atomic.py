"""Write a file whole or not at all, and report what the disk refuses in one sentence."""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from workbench.errors import BadInput, StoreFailed

_NAME_BYTES = 200  # of the 255 that file systems take, since suffixes are added


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty where there is no file.

    Raises:
        BadInput: it holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"cannot read {path} as JSON: {error}; it is damaged or another file") from error
    if not isinstance(content, dict):
        raise BadInput(f"{path} holds a {type(content).__name__}, not an object; it is another file")
    return content


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that a reader sees the old one or the new one, never a half.

    Raises:
        StoreFailed: as `written_whole`.
    """
    with written_whole(path) as aside:
        aside.write_text(text, encoding="utf-8")


def expect_file_name(name: str, what: str) -> str:
    """The name, if a file can have it and it leads to no other folder.

    Raises:
        BadInput: it has a slash, begins with a dot, or is empty or too long.
    """
    if not name or name.startswith(".") or set(name) & set("/\\\0") or len(name.encode()) > _NAME_BYTES:
        raise BadInput(
            f"{what} {name!r} cannot be the name of a file; give one without slashes, not begun by a dot, of at most"
            f" {_NAME_BYTES} bytes"
        )
    return name


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A path to write to, beside `path`: what is there when the block ends well takes its place.

    Raises:
        StoreFailed: the disk is full or cannot be written; the old file is as it was.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield aside
        aside.replace(path)
    except OSError as error:
        raise StoreFailed(
            f"could not write {path}: {error}; free some space or choose another folder"
        ) from error
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Make a folder to write into, and those above it, where there is none.

    Raises:
        BadInput: a file has that name, or the name of a folder above it; or the name is too long.
        StoreFailed: the disk did not take it, or takes no files there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "no permission to write there")
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.ENAMETOOLONG):
            raise BadInput(
                f"cannot make the folder {folder}: {error.strerror}; name another folder"
            ) from error
        raise StoreFailed(
            f"cannot make {folder}: {error}; free some space or choose another folder"
        ) from error
