"""Write a file whole or not at all, and report what the disk refuses in one sentence."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from workbench.errors import StoreFailed


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty where there is no file.

    Raises:
        ValueError: it holds something else.
    """
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if not isinstance(content, dict):
        raise ValueError(f"it holds a {type(content).__name__}, not an object")
    return content


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that a reader sees the old one or the new one, never a half.

    Raises:
        StoreFailed: as `written_whole`.
    """
    with written_whole(path) as aside:
        aside.write_text(text, encoding="utf-8")


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
    """Make a folder, and those above it, where there is none.

    Raises:
        StoreFailed: the disk did not take it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreFailed(
            f"cannot make {folder}: {error}; free some space or choose another folder"
        ) from error
