"""Where things are, and what a run of a notebook leaves behind.

`data_path` finds the data that ships with the package, in a wheel and in an editable checkout alike.
`record`, `note`, `keep_table` and `run_folder` are called from notebooks and rooms: inside `workbench run` they write
into the run's folder (named by the environment variable WORKBENCH_RUN); in an interactive notebook they write nothing.
`written_whole` and `write_atomically` write any file whole or not at all.
"""

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import BadInput, StoreFailed

if TYPE_CHECKING:
    import pandas as pd

PACKAGE = Path(__file__).parent


def data_path(name: str = "") -> Path:
    """Find a file or folder of `data/`, e.g. `data_path("published_results.csv")`."""
    return _shipped("data") / name


def notebook_path(name: str = "") -> Path:
    """Find a notebook that ships with the package, e.g. `notebook_path("03_probing.ipynb")`."""
    return _shipped("notebooks") / name


def _shipped(folder: str) -> Path:
    in_wheel = PACKAGE / folder
    return in_wheel if in_wheel.is_dir() else PACKAGE.parents[1] / folder


def run_folder() -> Path | None:
    """The folder of the run this process belongs to, or None in an interactive session."""
    folder = os.environ.get("WORKBENCH_RUN")
    return Path(folder) if folder else None


def record(**numbers: float | int | str | bool) -> None:
    """Add named numbers (or short strings) to the run's `metrics.json`.

    Raises:
        BadInput: a value that is no number or string, or a number that is not finite.
        StoreFailed: the disk did not take it.
    """
    for name, value in numbers.items():
        if not isinstance(value, int | float | str | bool):
            raise BadInput(
                f"record({name}=…) got a {type(value).__name__}; give a number or a string (float(x) helps)"
            )
        if isinstance(value, float) and not math.isfinite(value):
            raise BadInput(f"record({name}={value}): only finite numbers can be compared later")
    folder = run_folder()
    if folder is None:
        return
    path = folder / "metrics.json"
    _write_json(path, {**read_json(path), **numbers})


def note(**facts: Any) -> None:
    """Merge facts into the run's `facts.json`, from where they go into the manifest.

    Dicts are merged key by key at every depth, so rooms can add to the same fact; anything else is replaced:
    `note(models={"mini-bloomz": {"weights": digest}})`, `note(store={"hits": 3, "misses": 0})`.

    Raises:
        BadInput: a fact that JSON cannot hold.
        StoreFailed: the disk did not take it.
    """
    try:
        json.dumps(facts, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BadInput(
            f"note({', '.join(facts)}): {error}; give strings, finite numbers, lists and dicts"
        ) from error
    folder = run_folder()
    if folder is not None:
        path = folder / "facts.json"
        _write_json(path, _merged(read_json(path), facts))


def _merged(known: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    merged = dict(known)
    for key, value in new.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _write_json(path: Path, value: dict[str, Any]) -> None:
    write_atomically(path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False))


def keep_table(table: "pd.DataFrame", name: str = "results") -> None:
    """Write a tidy table into the run's folder as `<name>.parquet`.

    Raises:
        StoreFailed: the disk did not take it.
    """
    folder = run_folder()
    if folder is not None:
        with written_whole(folder / f"{name}.parquet") as aside:
            table.to_parquet(aside, index=False)


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
