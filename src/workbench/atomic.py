"""Write a file completely or not at all, and report disk errors in one sentence."""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from workbench.errors import BadInput, StoreFailed

_NAME_BYTES = 200  # of the 255 that file systems allow, since suffixes are added


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file, empty if the file does not exist.

    Raises:
        BadInput: the file holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(
            f"cannot read {path} as JSON: {error}; it is damaged, or not the expected file"
        ) from error
    if not isinstance(content, dict):
        raise BadInput(f"{path} holds a {type(content).__name__}, not an object; it is not the expected file")
    return content


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that a reader sees either the old or the new content, never a part.

    Raises:
        StoreFailed: as `written_whole`.
    """
    with written_whole(path) as aside:
        aside.write_text(text, encoding="utf-8")


def expect_file_name(name: str, what: str) -> str:
    """Return the name if it is valid for a file and does not lead to another folder.

    Raises:
        BadInput: it has a slash, backslash or null character, begins with a dot, or is empty or too long.
    """
    if not name or name.startswith(".") or set(name) & set("/\\\0") or len(name.encode()) > _NAME_BYTES:
        raise BadInput(
            f"{what} {name!r} cannot be the name of a file; use a name without slashes or a leading dot, of at most"
            f" {_NAME_BYTES} bytes"
        )
    return name


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; the file written there replaces `path` if the block succeeds.

    Raises:
        StoreFailed: the disk is full or cannot be written; the old file is unchanged.
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
    """Create a folder for writing, with its parents, if it does not exist.

    Raises:
        BadInput: a file has that name or the name of a parent, or the name is too long.
        StoreFailed: the folder cannot be created or is not writable.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "no permission to write there")
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.ENAMETOOLONG):
            raise BadInput(
                f"cannot create the folder {folder}: {error.strerror}; name another folder"
            ) from error
        raise StoreFailed(
            f"cannot create {folder}: {error}; free some space or choose another folder"
        ) from error
