"""Expected values of a run, stored as a small JSON file, and the differences between a run and them.

There are three tiers. *Exact*: strings, ids, predictions, counts, models. *Tolerance*: metrics and log-probabilities, each
within its own rtol and atol, which can be edited in the file and are kept when it is rewritten. *Statistical*, for runs on
another kind of device: whether the stored 95 % interval contains the new value; values without an interval are not judged.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel

from workbench.errors import BadInput
from workbench.runs.manifests import expect_run
from workbench.runs.parameters import names_files
from workbench.runs.reference_models import texts_in
from workbench.stats import mean_interval
from workbench.store import canonical

_METRIC = {"rtol": 1e-4, "atol": 1e-4}
_NUMBERS = {
    "rtol": 1e-4,
    "atol": 5e-4,
}  # nats; a margin is the difference of two scores, each accurate to 1e-4
_KEPT_NUMBERS = 200  # per column, evenly spaced
_DIGITS = 4  # hash digits stored per row


class Metric(BaseModel):
    """A recorded value; without tolerances it must be equal."""

    value: bool | int | float | str
    rtol: float | None = None
    atol: float | None = None


class Numbers(BaseModel):
    """A sample of a column of numbers."""

    values: list[float | None]
    rtol: float
    atol: float


class Table(BaseModel):
    """A table: hashes of the columns that must be equal, a short hash of each row of them, and the other columns."""

    rows: int
    exact: dict[str, str]
    marks: str
    numbers: dict[str, Numbers]


class Environment(BaseModel):
    """The versions with which the values were computed."""

    python: str
    packages: dict[str, str]


class Expected(BaseModel):
    """The content of an expected file."""

    format: Literal[1] = 1
    notebook: str
    parameters: dict[str, Any]
    environment: Environment
    device: str
    models: dict[str, str]
    metrics: dict[str, Metric]
    intervals: dict[str, tuple[float, float, float]]
    tables: dict[str, Table]


@dataclass(frozen=True)
class Difference:
    """One value that differs from the expected one.

    `off` is the deviation in units of the tolerance (or of the interval's width), infinite where neither applies.
    """

    what: str
    tier: Literal["exact", "tolerance", "statistical"]
    expected: str
    got: str
    off: float = math.inf


def expectation(folder: Path) -> Expected:
    """Return the results of the run in `folder` as expected values, with default tolerances.

    Raises:
        BadInput: a parameter is a path on this machine, or the run is not finished or cannot be read.
    """
    manifest, metrics = expect_run(folder)
    expect_portable(manifest.given)
    tables = {path.stem: pd.read_parquet(path) for path in sorted(folder.glob("*.parquet"))}
    return Expected(
        notebook=manifest.notebook,
        parameters=manifest.given,
        environment=Environment(python=manifest.python, packages=manifest.packages),
        device="cuda" if manifest.hardware.gpus else "cpu",
        models=manifest.digests,
        metrics={
            name: Metric(value=value, **(_METRIC if isinstance(value, float) else {}))
            for name, value in sorted(metrics.items())
        },
        intervals=_intervals(metrics, tables),
        tables={name: _table(table) for name, table in tables.items()},
    )


def expect_portable(parameters: Mapping[str, Any]) -> None:
    """Check that parameters mean the same on every machine.

    Raises:
        BadInput: one is a path on this machine.
    """
    for name, value in parameters.items():
        if any(_is_of_this_machine(name, text) for text in texts_in(value)):
            raise BadInput(
                f"parameter {name} is a path of this machine; expected values can only name what ships"
            )


def _is_of_this_machine(name: str, text: str) -> bool:
    return Path(text).is_absolute() and (names_files(name) or os.path.exists(text))


def _intervals(metrics: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """Return (value, low, high) by name: metrics with recorded `<name>_low` and `<name>_high`, and shares of boolean columns."""
    found = {
        name: (value, metrics[f"{name}_low"], metrics[f"{name}_high"])
        for name, value in metrics.items()
        if f"{name}_low" in metrics and f"{name}_high" in metrics
    }
    for name, table in tables.items():
        clusters = table["cluster"] if "cluster" in table else np.arange(len(table))
        for column in table.select_dtypes("bool").columns if len(table) else ():
            interval = mean_interval(table[column].to_numpy(dtype=float), np.asarray(clusters))
            found[f"{name}: share of {column}"] = tuple(round(number, 6) for number in astuple(interval))
    return found


def _table(table: pd.DataFrame) -> Table:
    rows = json.loads(table.to_json(orient="values", double_precision=15, date_format="iso"))
    columns = {str(name): [row[place] for row in rows] for place, name in enumerate(table.columns)}
    flat = {name: [number for value in values for number in _flat(value)] for name, values in columns.items()}
    numeric = sorted(name for name, values in flat.items() if any(isinstance(each, float) for each in values))
    exact = {name: values for name, values in columns.items() if name not in numeric}
    alike = zip(*exact.values(), strict=True) if exact else [()] * len(table)
    return Table(
        rows=len(table),
        exact={name: _hash(values) for name, values in exact.items()},
        marks="".join(_hash(list(row))[:_DIGITS] for row in alike),
        numbers={name: Numbers(values=_sample(flat[name]), **_NUMBERS) for name in numeric},
    )


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for part in value:
            yield from _flat(part)
    else:
        yield value


def _sample(values: list[float | None]) -> list[float | None]:
    step = max(1, len(values) // _KEPT_NUMBERS)
    return [None if number is None else float(f"{number:.7g}") for number in values[::step]]


def _hash(value: Any) -> str:
    return sha256(canonical(value).encode()).hexdigest()


def keep_tolerances(new: Expected, old: Expected) -> None:
    """Give the new values the tolerances of the old ones, which may have been edited."""
    pairs: list[tuple[Metric | Numbers, Metric | Numbers | None]] = [
        (entry, old.metrics.get(name)) for name, entry in new.metrics.items()
    ]
    for name, table in new.tables.items():
        known = old.tables[name].numbers if name in old.tables else {}
        pairs += [(entry, known.get(column)) for column, entry in table.numbers.items()]
    for entry, before in pairs:
        if before is not None and None not in (entry.rtol, before.rtol, before.atol):
            entry.rtol, entry.atol = before.rtol, before.atol


def differences(expected: Expected, got: Expected, *, statistical: bool = False) -> list[Difference]:
    """Return every difference between a run and what is expected, largest first.

    Args:
        expected: The content of an expected file.
        got: `expectation` of the run.
        statistical: Judge by intervals, as for a run on another kind of device.
    """
    found = list(_by_interval(expected, got) if statistical else _by_value(expected, got))
    return sorted(found, key=lambda difference: (-difference.off, difference.what))


def drift(expected: Expected, got: Expected) -> list[str]:
    """List the versions of Python and of packages that differ, as "name old → new"."""
    old, new = ({"python": each.environment.python, **each.environment.packages} for each in (expected, got))
    return [f"{each.what} {each.expected} → {each.got}" for each in _unequal(old, new)]


def _by_value(expected: Expected, got: Expected) -> Iterator[Difference]:
    yield from _unequal(expected.models, got.models, "model ")
    for name, old in expected.metrics.items():
        new = got.metrics.get(name)
        if old.rtol is not None and new is not None and not isinstance(new.value, str):
            yield from _apart(name, [old.value], [new.value], old)
        else:
            yield from _unequal({name: old.value}, {name: new.value} if new else {})
    yield from _unequal(
        {}, {name: new.value for name, new in got.metrics.items() if name not in expected.metrics}
    )
    yield from _unequal(dict.fromkeys(expected.tables, "kept"), dict.fromkeys(got.tables, "kept"), "table ")
    for name in expected.tables.keys() & got.tables.keys():
        yield from _in_table(name, expected.tables[name], got.tables[name])


def _unequal(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> Iterator[Difference]:
    """Yield the entries that are not equal, or of another type."""
    for name in sorted({*old, *new}):
        before, now = old.get(name), new.get(name)
        if before != now or type(before) is not type(now):
            shown = ["–" if each is None else str(each) for each in (before, now)]
            yield Difference(prefix + name, "exact", shown[0], shown[1])


def _in_table(name: str, old: Table, new: Table) -> Iterator[Difference]:
    if old.rows != new.rows:
        yield Difference(f"{name}: rows", "exact", str(old.rows), str(new.rows))
        return
    if columns := [each.what for each in _unequal(old.exact, new.exact)]:
        starts = range(0, len(old.marks), _DIGITS)
        rows = [
            str(at // _DIGITS)
            for at in starts
            if old.marks[at : at + _DIGITS] != new.marks[at : at + _DIGITS]
        ]
        where = f"{len(rows)} differ: rows {', '.join(rows[:5])}{' …' if len(rows) > 5 else ''}"
        yield Difference(f"{name}: {', '.join(columns)}", "exact", f"{old.rows} rows alike", where)
    counts = [{column: len(each.values) for column, each in table.numbers.items()} for table in (old, new)]
    unlike = list(_unequal(counts[0], counts[1], f"{name}."))
    yield from unlike
    for column, entry in old.numbers.items():
        if f"{name}.{column}" not in {each.what for each in unlike}:
            yield from _apart(f"{name}.{column}", entry.values, new.numbers[column].values, entry)


def _apart(what: str, old: list[Any], new: list[Any], entry: Metric | Numbers) -> Iterator[Difference]:
    """Yield the largest deviation if one exceeds atol + rtol·|expected|; two missing values count as equal."""
    wanted, found = (np.array(each, dtype=float) for each in (old, new))
    rtol, atol = entry.rtol or 0.0, entry.atol or 0.0
    far = ~np.isclose(found, wanted, rtol=rtol, atol=atol, equal_nan=True)
    if far.any():
        with np.errstate(divide="ignore"):
            off = np.nan_to_num(np.abs(found - wanted) / (atol + rtol * np.abs(wanted)), nan=np.inf)
        worst = int(np.where(far, off, 0).argmax())
        count = f" ({far.sum()} of {far.size} numbers)" if far.size > 1 else ""
        shown = (f"{wanted[worst]:.6g}", f"{found[worst]:.6g}{count}")
        yield Difference(what, "tolerance", *shown, off=float(off[worst]))


def _by_interval(expected: Expected, got: Expected) -> Iterator[Difference]:
    for name, (_, low, high) in expected.intervals.items():
        span = f"{low:.4g} … {high:.4g}"
        if name not in got.intervals:
            yield Difference(name, "statistical", span, "not there")
        elif not low <= (value := got.intervals[name][0]) <= high:
            beyond = max(low - value, value - high) / max(high - low, 1e-12)
            yield Difference(name, "statistical", span, f"{value:.4g}", beyond)
