"""Expected values of a run, stored as a small JSON file, and the differences between a run and them.

There are three tiers. *Exact*: strings, ids, predictions, counts, models. *Tolerance*: metrics and log-probabilities, each
within its own rtol and atol, which can be edited in the file and are kept when it is rewritten. *Statistical*, for runs on
another kind of device: whether the stored 95 % interval contains the new value; values without an interval are not judged.
"""

import math
import os
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ValidationError

from workbench.atomic import read_json
from workbench.errors import BadInput
from workbench.runs.parameters import names_files, texts_in
from workbench.stats import mean_interval
from workbench.store import canonical

Tier = Literal["exact", "tolerance", "statistical"]
METRIC = {"rtol": 1e-4, "atol": 1e-4}
NUMBER = {"rtol": 1e-4, "atol": 5e-4}  # nats; a margin is the difference of two scores, each accurate to 1e-4
PARTS = {"notebook", "parameters", "environment", "device", "models", "metrics", "intervals", "tables"}
_KEPT_NUMBERS = 200  # per column, evenly spaced
_DIGITS = 4  # hash digits stored per row


class _Hardware(BaseModel):
    gpus: list[str]


class Manifest(BaseModel):
    """The fields of a run's `run.json` that are compared."""

    notebook: str
    notebook_path: str = ""
    given: dict[str, Any]
    python: str
    packages: dict[str, str]
    digests: dict[str, str]
    hardware: _Hardware


@dataclass(frozen=True)
class Difference:
    """One value that differs from the expected one.

    `off` is the deviation in units of the tolerance (or of the interval's width), infinite where neither applies.
    """

    what: str
    tier: Tier
    expected: str
    got: str
    off: float = math.inf


def expectation(folder: Path) -> dict[str, Any]:
    """Return the results of the run in `folder` in the form of an expected file, with default tolerances.

    Raises:
        BadInput: a parameter is a path on this machine, or the manifest is invalid.
    """
    manifest = read_manifest(folder)
    for name, value in manifest.given.items():
        if any(_is_of_this_machine(name, text) for text in texts_in(value)):
            raise BadInput(
                f"parameter {name} is a path of this machine; expected values can only name what ships"
            )
    metrics = read_json(folder / "metrics.json")
    tables = {path.stem: pd.read_parquet(path) for path in sorted(folder.glob("*.parquet"))}
    return {
        "format": 1,
        "notebook": manifest.notebook,
        "parameters": manifest.given,
        "environment": {"python": manifest.python, "packages": manifest.packages},
        "device": device_of(manifest),
        "models": manifest.digests,
        "metrics": {name: _metric(value) for name, value in sorted(metrics.items())},
        "intervals": _intervals(metrics, tables),
        "tables": {name: _table(table) for name, table in tables.items()},
    }


def read_manifest(folder: Path) -> Manifest:
    """Return the fields of a run's manifest that are compared.

    Raises:
        BadInput: the manifest is damaged or lacks a field.
    """
    try:
        return Manifest.model_validate(read_json(folder / "run.json"))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(map(str, problem["loc"]))
        raise BadInput(
            f"{folder / 'run.json'} is no manifest of a run: {where}: {problem['msg']}; run the notebook again"
        ) from error


def device_of(manifest: Manifest) -> str:
    """Return "cuda" if the run's machine had a GPU, else "cpu"."""
    return "cuda" if manifest.hardware.gpus else "cpu"


def _is_of_this_machine(name: str, text: str) -> bool:
    return Path(text).is_absolute() and (names_files(name) or os.path.exists(text))


def keep_tolerances(new: dict[str, Any], old: dict[str, Any]) -> dict[str, Any]:
    """Return the new expectation with the tolerances of the old one, which may have been edited."""
    for name, entry in new["metrics"].items():
        known = old["metrics"].get(name, {})
        entry.update({key: known[key] for key in ("rtol", "atol") if key in known and key in entry})
    for name, table in new["tables"].items():
        known = old["tables"].get(name, {}).get("numbers", {})
        for column, entry in table["numbers"].items():
            entry.update({key: known[column][key] for key in ("rtol", "atol") if column in known})
    return new


def differences(
    expected: dict[str, Any], got: dict[str, Any], *, statistical: bool = False
) -> list[Difference]:
    """Return every difference between a run and what is expected, largest first.

    Args:
        expected: The content of an expected file.
        got: `expectation` of the run.
        statistical: Judge by intervals, as for a run on another kind of device.
    """
    found = list(_statistical(expected, got) if statistical else _strict(expected, got))
    return sorted(found, key=lambda difference: (-difference.off, difference.what))


def drift(expected: dict[str, Any], got: dict[str, Any]) -> list[str]:
    """List the versions of Python and of packages that differ, as "name old → new"."""
    old, new = (
        {"python": each["environment"]["python"], **each["environment"]["packages"]}
        for each in (expected, got)
    )
    return [
        f"{name} {old.get(name, '–')} → {new.get(name, '–')}"
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]


def _strict(expected: dict[str, Any], got: dict[str, Any]) -> Iterator[Difference]:
    for name in sorted({*expected["models"], *got["models"]}):
        yield from _same(f"model {name}", expected["models"].get(name), got["models"].get(name))
    for name in sorted({*expected["metrics"], *got["metrics"]}):
        old, new = (each["metrics"].get(name, {}).get("value") for each in (expected, got))
        entry = expected["metrics"].get(name, {})
        if "rtol" in entry and isinstance(new, int | float):
            yield from _near(name, [old], [new], entry)
        else:
            yield from _same(name, old, new)
    for name in sorted({*expected["tables"], *got["tables"]}):
        old, new = (each["tables"].get(name) for each in (expected, got))
        if old is None or new is None:
            yield from _same(f"table {name}", old and "kept", new and "kept")
        else:
            yield from _in_table(name, old, new)


def _in_table(name: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[Difference]:
    if old["rows"] != new["rows"]:
        yield Difference(f"{name}: rows", "exact", str(old["rows"]), str(new["rows"]))
        return
    columns = [
        c for c in sorted({*old["exact"], *new["exact"]}) if old["exact"].get(c) != new["exact"].get(c)
    ]
    if columns:
        marks = zip(_marks(old), _marks(new), strict=True)
        rows = [number for number, (mine, theirs) in enumerate(marks) if mine != theirs]
        where = f"rows {', '.join(map(str, rows[:5]))}{' …' if len(rows) > 5 else ''}"
        yield Difference(
            f"{name}: {', '.join(columns)}",
            "exact",
            f"{old['rows']} rows alike",
            f"{len(rows)} differ: {where}",
        )
    for column in sorted({*old["numbers"], *new["numbers"]}):
        mine, theirs = old["numbers"].get(column), new["numbers"].get(column)
        if mine is None or theirs is None or len(mine["values"]) != len(theirs["values"]):
            yield from _same(
                f"{name}.{column}: numbers", mine and len(mine["values"]), theirs and len(theirs["values"])
            )
        else:
            yield from _near(f"{name}.{column}", mine["values"], theirs["values"], mine)


def _near(
    what: str, old: list[float | None], new: list[float | None], entry: dict[str, Any]
) -> Iterator[Difference]:
    """Yield the largest deviation if it exceeds atol + rtol·|expected|; two missing values count as equal."""
    wanted, found = (np.array(each, dtype=float) for each in (old, new))
    allowed = entry["atol"] + entry["rtol"] * np.abs(wanted)
    with np.errstate(invalid="ignore", divide="ignore"):
        off = np.abs(found - wanted) / allowed
    off = np.where(
        np.isnan(wanted) & np.isnan(found) | (wanted == found), 0.0, np.where(np.isnan(off), np.inf, off)
    )
    worst = int(off.argmax()) if off.size else 0
    if off.size and off[worst] > 1:
        count = f" ({int((off > 1).sum())} of {off.size} numbers)" if off.size > 1 else ""
        yield Difference(
            what, "tolerance", f"{wanted[worst]:.6g}", f"{found[worst]:.6g}{count}", float(off[worst])
        )


def _statistical(expected: dict[str, Any], got: dict[str, Any]) -> Iterator[Difference]:
    for name, (_, low, high) in expected["intervals"].items():
        mean = got["intervals"].get(name, [None])[0]
        if mean is None:
            yield Difference(name, "statistical", f"{low:.4g} … {high:.4g}", "not there")
        elif not low <= mean <= high:
            beyond = max(low - mean, mean - high) / max(high - low, 1e-12)
            yield Difference(name, "statistical", f"{low:.4g} … {high:.4g}", f"{mean:.4g}", beyond)


def _same(what: str, old: Any, new: Any) -> Iterator[Difference]:
    if old != new or type(old) is not type(new):
        yield Difference(what, "exact", "–" if old is None else str(old), "–" if new is None else str(new))


def _metric(value: Any) -> dict[str, Any]:
    return {"value": value, **METRIC} if isinstance(value, float) else {"value": value}


def _intervals(metrics: dict[str, Any], tables: dict[str, pd.DataFrame]) -> dict[str, list[float]]:
    """Return (value, low, high) by name: metrics with recorded `<name>_low` and `<name>_high`, and shares of boolean columns."""
    found = {
        name: [value, metrics[f"{name}_low"], metrics[f"{name}_high"]]
        for name, value in metrics.items()
        if f"{name}_low" in metrics and f"{name}_high" in metrics
    }
    for name, table in tables.items():
        if table.empty:
            continue
        clusters = table["cluster"] if "cluster" in table else pd.Series(range(len(table)))
        for column in table.select_dtypes("bool").columns:
            interval = mean_interval(table[column].to_numpy(dtype=float), clusters.to_numpy())
            found[f"{name}: share of {column}"] = [round(number, 6) for number in astuple(interval)]
    return found


def _table(table: pd.DataFrame) -> dict[str, Any]:
    """Return the number of rows, a hash of each exact column, a short hash of each row, and a sample of each numeric column."""
    plain = {str(column): [_plain(value) for value in table[column]] for column in table.columns}
    numeric = {column for column, values in plain.items() if any(_has_float(value) for value in values)}
    exact = {column: values for column, values in plain.items() if column not in numeric}
    rows = zip(*exact.values(), strict=True) if exact else [()] * len(table)
    return {
        "rows": len(table),
        "exact": {column: _hash(values) for column, values in exact.items()},
        "marks": "".join(_hash(list(row))[:_DIGITS] for row in rows),
        "numbers": {column: {"values": _sample(plain[column]), **NUMBER} for column in sorted(numeric)},
    }


def _marks(table: dict[str, Any]) -> list[str]:
    text = table["marks"]
    return [text[start : start + _DIGITS] for start in range(0, len(text), _DIGITS)]


def _sample(values: list[Any]) -> list[float | None]:
    flat = [number for value in values for number in (value if isinstance(value, list) else [value])]
    step = max(1, len(flat) // _KEPT_NUMBERS)
    return [None if number is None else float(f"{number:.7g}") for number in flat[::step]]


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value if isinstance(value, bool | int | float | str) else str(value)


def _has_float(value: Any) -> bool:
    return any(map(_has_float, value)) if isinstance(value, list) else isinstance(value, float)


def _hash(value: Any) -> str:
    return sha256(canonical(value).encode()).hexdigest()
