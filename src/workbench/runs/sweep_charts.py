"""The numbers that the runs of a sweep recorded, as rows of dots for its page.

Where a notebook records `<name>_low` and `<name>_high` beside `<name>`, a row is a run with its interval. Else a row is one
setting of the parameters other than `seed`, and the runs that differ in their seed alone share it, with mean and range.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean
from typing import Any, TypeGuard

SEED = "seed"


@dataclass(frozen=True)
class Dot:
    """What one run recorded, in the metric's unit, with the interval it recorded, if any."""

    value: float
    seed: Any = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Row:
    """The runs of one setting; `label` leaves out the group's value."""

    group: str
    label: str
    dots: list[Dot]

    @property
    def mean(self) -> float:
        """The mean over seeds."""
        return fmean(dot.value for dot in self.dots)

    @property
    def ends(self) -> list[tuple[float, float]]:
        """The bars: the intervals that were recorded, or else the range over seeds."""
        known = [(dot.low, dot.high) for dot in self.dots if dot.low is not None and dot.high is not None]
        values = [dot.value for dot in self.dots]
        return known or ([(min(values), max(values))] if len(values) > 1 else [])

    @property
    def text(self) -> str:
        """The numbers, for those who do not see the dots."""
        if len(self.dots) == 1:
            low, high = self.dots[0].low, self.dots[0].high
            interval = f" [{low:.4g}, {high:.4g}]" if low is not None and high is not None else ""
            return f"{self.mean:.4g}{interval}"
        values = [dot.value for dot in self.dots]
        return f"{self.mean:.4g} ({min(values):.4g} to {max(values):.4g})"


@dataclass(frozen=True)
class Chart:
    """A metric of the runs with one badge, in rows that are sorted by group."""

    name: str
    badge: str
    rows: list[Row]
    low: float
    high: float

    @property
    def groups(self) -> list[tuple[str, list[Row]]]:
        """The rows by the value of the first parameter that varies."""
        return [(group, list(rows)) for group, rows in groupby(self.rows, key=lambda row: row.group)]

    @property
    def key(self) -> str:
        """What the marks mean, as far as they occur."""
        dots = [dot for row in self.rows for dot in row.dots]
        has_interval = any(dot.low is not None for dot in dots)
        has_seeds = len(dots) > len(self.rows)
        bar = "interval that the notebook recorded" if has_interval else "range over seeds"
        marks = [
            "dot: a run",
            "stroke: mean over seeds" * has_seeds,
            f"bar: {bar}" * (has_interval or has_seeds),
        ]
        return ", ".join(filter(None, marks))

    def place(self, value: float) -> str:
        """Return where a value lies on the axis, in percent."""
        return f"{100 * (value - self.low) / (self.high - self.low):.2f}"


def charts(runs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]], badge: str) -> list[Chart]:
    """Return a chart for each number that is not the same in all runs.

    Args:
        runs: For each run the parameters that vary, and what it recorded.
    """
    names = dict.fromkeys(name for _, metrics in runs for name in metrics)
    found = (
        _chart(name, runs, badge)
        for name in names
        if not _is_end(name, names) and all(is_number(metrics.get(name, 0)) for _, metrics in runs)
    )
    return [chart for chart in found if len({dot.value for row in chart.rows for dot in row.dots}) > 1]


def _chart(name: str, runs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]], badge: str) -> Chart:
    rows: dict[tuple[str, str], list[Dot]] = {}
    shared = set() if any(f"{name}_low" in metrics for _, metrics in runs) else {SEED}
    for varying, metrics in runs:
        if name in metrics:
            own = Dot(float(metrics[name]), varying.get(SEED), *_interval(metrics, name))
            rows.setdefault(_group_and_label(varying, shared), []).append(own)
    order = {group: place for place, group in enumerate(dict.fromkeys(group for group, _ in rows))}
    kept = sorted((Row(*key, dots) for key, dots in rows.items()), key=lambda row: order[row.group])
    ends = [end for row in kept for pair in row.ends for end in pair]
    values = [dot.value for row in kept for dot in row.dots] + ends
    return Chart(name, badge, kept, min(values), max(values))


def _group_and_label(varying: Mapping[str, Any], shared: set[str]) -> tuple[str, str]:
    """Return the value of the first of two or more parameters, and those of the others, seeds with their name."""
    said = [
        f"{SEED} {value}" if name == SEED else short(value)
        for name, value in varying.items()
        if name not in shared
    ]
    first, *others = said or ["all seeds"]
    return (first, ", ".join(others)) if others else ("", first)


def _interval(metrics: Mapping[str, Any], name: str) -> tuple[float | None, float | None]:
    ends = [metrics.get(f"{name}_{end}") for end in ("low", "high")]
    low, high = (float(end) if is_number(end) else None for end in ends)
    return (low, high) if low is not None and high is not None else (None, None)


def _is_end(name: str, names: Mapping[str, None]) -> bool:
    return name.endswith(("_low", "_high")) and name.rsplit("_", 1)[0] in names


def is_number(value: Any) -> TypeGuard[float]:
    """Return whether a recorded value is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def short(value: Any) -> str:
    """Return a parameter or a recorded value as a few characters."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
