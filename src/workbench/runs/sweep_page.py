"""The page of a sweep: one file that needs no server and no network.

It shows recorded metrics as dots over the runs and as a table, the figures of one run per set of models, and the sweep's
settings. Runs whose figures carry different badges never share an axis.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.atomic import read_json, write_atomically
from workbench.runs.manifests import Figure, Manifest, figures_of, kept
from workbench.runs.page import circumstances, render, shortened

_ROW, _LEFT, _WIDE = 18, 230, 620  # row height, left margin and width of a chart, in pixels


@dataclass(frozen=True)
class _Done:
    """A finished run as the page shows it: its folder relative to the page, the parameters that vary, its manifest."""

    here: str
    varying: dict[str, Any]
    manifest: Manifest
    metrics: dict[str, Any]
    figures: list[Figure]

    @property
    def label(self) -> str:
        """The parameters that vary, in short form."""
        return ", ".join(map(_short, self.varying.values())) or "default"

    @property
    def badge(self) -> str:
        """The badge of the run's own measurements."""
        own = {figure.facts.badge for figure in self.figures if figure.facts} - {"PUBLISHED"}
        return " ".join(sorted(own)) or "PUBLISHED"


@dataclass(frozen=True)
class _Dot:
    """A run in a chart; x and y in pixels."""

    label: str
    value: float
    x: float
    y: int


@dataclass(frozen=True)
class _Chart:
    """Dots on rows, one row per run."""

    name: str
    badge: str
    by: str
    low: float
    high: float
    dots: list[_Dot]
    left: int = _LEFT
    right: int = _WIDE - 30
    wide: int = _WIDE

    @property
    def height(self) -> int:
        """Height in pixels."""
        return _ROW * len(self.dots) + 34

    @property
    def alt(self) -> str:
        """The text alternative."""
        return f"{self.name} of {len(self.dots)} runs, from {self.low:.4g} to {self.high:.4g}"


def write_sweep_page(folder: Path) -> Path:
    """Write `index.html` beside a `sweep.json` and return its path."""
    content = read_json(folder / "sweep.json")
    listed, counts = content["runs"], content["counts"]
    runs = _finished(folder, listed)
    columns, rows = _table(runs)
    page = render(
        "sweep",
        title=f"workbench: sweep {content['name']}",
        name=content["name"],
        notebook=content["file"]["notebook"],
        listed=listed,
        whole=counts.get("done", 0) + counts.get("there", 0),
        failed=counts.get("failed", 0),
        charts=_charts(runs),
        columns=columns,
        rows=rows,
        examples=[run for run in _one_per_group(runs) if run.figures],
        others=[_problem(folder, run) for run in listed if not _is_shown(run, runs)],
        facts=_facts(content, runs),
    )
    write_atomically(folder / "index.html", page)
    return folder / "index.html"


def _finished(folder: Path, listed: Sequence[dict[str, Any]]) -> list[_Done]:
    given = [run["given"] for run in listed]
    names = list(dict.fromkeys(name for each in given for name in each))
    varying = [name for name in names if len({json.dumps(each.get(name)) for each in given}) > 1]
    runs = []
    for run in listed:
        found = kept(folder / run["folder"])
        if found.manifest and found.is_finished:
            shown = {name: found.manifest.parameters.get(name) for name in varying}
            figures = figures_of(found.folder)
            runs.append(_Done(run["folder"], shown, found.manifest, found.metrics, figures))
    return runs


def _is_shown(listed: dict[str, Any], runs: Sequence[_Done]) -> bool:
    return listed["state"] in ("done", "there") and any(run.here == listed["folder"] for run in runs)


def _problem(folder: Path, listed: dict[str, Any]) -> dict[str, Any]:
    """Return the entry of a run that is not shown; if it finished but cannot be read, with the reason."""
    is_done = listed["state"] in ("done", "there")
    return {**listed, "message": kept(folder / listed["folder"]).problem} if is_done else listed


def _charts(runs: list[_Done]) -> list[_Chart]:
    """Return a chart per metric and badge; metrics that are equal in all runs appear only in the table."""
    charts = []
    for badge in sorted({run.badge for run in runs}):
        mine = [run for run in runs if run.badge == badge]
        for name in _numeric(mine):
            values = [(run.label, float(run.metrics[name])) for run in mine if name in run.metrics]
            if len({value for _, value in values}) > 1:
                charts.append(_chart(name, values, badge, ", ".join(mine[0].varying)))
    return charts


def _chart(name: str, values: Sequence[tuple[str, float]], badge: str, by: str) -> _Chart:
    low, high = min(value for _, value in values), max(value for _, value in values)
    wide = _WIDE - _LEFT - 30
    dots = [
        _Dot(label, value, _LEFT + wide * (value - low) / (high - low), 12 + _ROW * number)
        for number, (label, value) in enumerate(values)
    ]
    return _Chart(name, badge, by, low, high, dots)


def _table(runs: list[_Done]) -> tuple[list[str], list[tuple[_Done, list[str]]]]:
    """Return the column names, and each run with its cells."""
    recorded = dict.fromkeys(name for run in runs for name in run.metrics)
    differs = {name: len({str(run.metrics.get(name)) for run in runs}) > 1 for name in recorded}
    names = sorted(recorded, key=differs.__getitem__, reverse=True)  # metrics that differ come first
    varying = list(runs[0].varying) if runs else []
    rows = [
        (
            run,
            [
                *(_short(run.varying[name]) for name in varying),
                *(_short(run.metrics.get(name, "–")) for name in names),
                f"{run.manifest.seconds:.1f}",
            ],
        )
        for run in runs
    ]
    return ["run", *varying, *names, "seconds"], rows


def _one_per_group(runs: list[_Done]) -> list[_Done]:
    """Return the first run of each set of models."""
    first: dict[str, _Done] = {}
    for run in runs:
        first.setdefault(json.dumps(sorted(run.manifest.digests)), run)
    return list(first.values())


def _facts(content: dict[str, Any], runs: list[_Done]) -> dict[str, str]:
    facts = {"sweep": json.dumps(content["file"], ensure_ascii=False)}
    digests = {name: digest for run in runs for name, digest in run.manifest.digests.items()}
    if digests:
        facts["models"] = shortened(digests)
    if runs:
        facts |= circumstances(runs[-1].manifest)
    peaks = [run.manifest.peak_memory_bytes for run in runs if run.manifest.peak_memory_bytes]
    return facts | {"peak memory of a run": f"{max(peaks) / 1e9:.2f} GB" if peaks else "–"}


def _numeric(runs: list[_Done]) -> list[str]:
    names = dict.fromkeys(name for run in runs for name in run.metrics)
    return [
        name for name in names if all(_is_number(run.metrics[name]) for run in runs if name in run.metrics)
    ]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
