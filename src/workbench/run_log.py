"""Records that a notebook leaves when it is run.

`record`, `note` and `keep_table` are called from notebooks and from this package. Inside `workbench run` they write into the
run's folder (named by the environment variable WORKBENCH_RUN); in an interactive notebook they write nothing.
"""

import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.atomic import read_json, write_atomically, written_whole
from workbench.errors import BadInput

if TYPE_CHECKING:
    import pandas as pd


def run_folder() -> Path | None:
    """Return the folder of the run that this process belongs to, or None in an interactive session."""
    folder = os.environ.get("WORKBENCH_RUN")
    return Path(folder) if folder else None


def record(**numbers: float | int | str | bool) -> None:
    """Add named numbers (or short strings) to the run's `metrics.json`.

    Raises:
        BadInput: a value that is neither a number nor a string, or a number that is not finite.
        StoreFailed: the file could not be written.
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
    """Merge facts into the run's `facts.json`, which becomes part of the manifest.

    Dicts are merged key by key at every depth, so that several callers can add to the same fact; other values are replaced:
    `note(models={"mini-bloomz": {"weights": digest}})`, `note(store={"hits": 3, "misses": 0})`.

    Raises:
        BadInput: a fact that JSON cannot represent.
        StoreFailed: the file could not be written.
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


def noted() -> dict[str, Any]:
    """Return the facts that were noted in this run so far; empty in an interactive session."""
    folder = run_folder()
    return read_json(folder / "facts.json") if folder is not None else {}


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
        StoreFailed: the file could not be written.
    """
    folder = run_folder()
    if folder is not None:
        with written_whole(folder / f"{name}.parquet") as aside:
            table.to_parquet(aside, index=False)
