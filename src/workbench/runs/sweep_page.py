"""The page of a sweep: one file that needs no server and no network.

What was recorded, as dots over the runs and as a table; the figures of one run per group of models; what it was run
with. Runs whose figures carry different badges never share an axis.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from workbench.atomic import read_json, write_atomically
from workbench.runs.folders import MARK
from workbench.runs.page import circumstances, facts_table, figure, page

_ROW, _LEFT, _WIDE = 18, 230, 620  # of a chart, in pixels


@dataclass(frozen=True)
class _Done:
    """A finished run as the page shows it: its place relative to the page, the parameters that vary, its manifest."""

    here: str
    folder: Path
    varying: dict[str, Any]
    manifest: dict[str, Any]
    metrics: dict[str, Any]
    figures: list[dict[str, Any]]

    @property
    def label(self) -> str:
        """The parameters that vary, in short."""
        return ", ".join(map(_short, self.varying.values())) or "default"

    @property
    def badge(self) -> str:
        """What its own measurements rest on."""
        own = {figure["badge"] for figure in self.figures} - {"PUBLISHED"}
        return " ".join(sorted(own)) or "PUBLISHED"


def write_sweep_page(folder: Path) -> Path:
    """Write `index.html` beside a `sweep.json` and return its path."""
    content = read_json(folder / "sweep.json")
    runs = _finished(folder, content["runs"])
    body = (
        _top(content)
        + "<main>"
        + _charts(runs)
        + _table(runs)
        + "".join(_example(run) for run in _one_per_group(runs))
        + _others(content["runs"])
        + _facts(content, runs)
        + "</main>"
    )
    write_atomically(folder / "index.html", page(f"workbench: sweep {content['name']}", body))
    return folder / "index.html"


def _finished(folder: Path, listed: Sequence[dict[str, Any]]) -> list[_Done]:
    given = [run["given"] for run in listed]
    names = list(dict.fromkeys(name for each in given for name in each))
    varying = [name for name in names if len({json.dumps(each.get(name)) for each in given}) > 1]
    runs = []
    for run in listed:
        place = folder / run["folder"]
        if (place / MARK).exists():
            figures = [
                {**read_json(path), "png": path.with_suffix(".png")}
                for path in sorted(place.glob("figures/*.json"))
            ]
            manifest = read_json(place / "run.json")
            shown = {name: manifest["parameters"].get(name) for name in varying}
            runs.append(
                _Done(run["folder"], place, shown, manifest, read_json(place / "metrics.json"), figures)
            )
    return runs


def _top(content: dict[str, Any]) -> str:
    counts, total = content["counts"], len(content["runs"])
    whole = counts.get("done", 0) + counts.get("there", 0)
    failed = f', <span class="failed-count">{counts["failed"]} failed</span>' if counts.get("failed") else ""
    return (
        f'<header class="top"><h1>Sweep {escape(content["name"])}</h1>'
        f"<p>{whole} of {total} runs of {escape(content['file']['notebook'])} are done{failed}.</p>"
        '<nav><a href="#charts">What was recorded</a><a href="#runs">The runs</a><a href="#facts">How it was run</a></nav></header>'
    )


def _charts(runs: list[_Done]) -> str:
    """A chart per metric and badge, metrics that are the same in all runs left to the table."""
    parts = []
    for badge in sorted({run.badge for run in runs}):
        mine = [run for run in runs if run.badge == badge]
        for name in _numeric(mine):
            values = [(run.label, float(run.metrics[name])) for run in mine if name in run.metrics]
            if len({value for _, value in values}) > 1:
                parts.append(_chart(name, values, badge, ", ".join(mine[0].varying)))
    told = "".join(parts) or "<p>No recorded number differs between the runs.</p>"
    return f'<section id="charts"><h2>What was recorded, run by run</h2><div class="figures">{told}</div></section>'


def _chart(name: str, values: Sequence[tuple[str, float]], badge: str, by: str) -> str:
    """Dots over rows, as a picture of lines and text with a description; each dot names its run and value."""
    low, high = min(value for _, value in values), max(value for _, value in values)
    height, wide = _ROW * len(values) + 34, _WIDE - _LEFT - 30
    where = [_LEFT + wide * (value - low) / (high - low) for _, value in values]
    rows = "".join(
        f'<line x1="{_LEFT}" x2="{_WIDE - 30}" y1="{y}" y2="{y}" stroke="#e3e7eb"/>'
        f'<text x="{_LEFT - 10}" y="{y + 4}" text-anchor="end" font-size="12" fill="#1d2329">{escape(_cut(label))}</text>'
        f'<circle cx="{x:.1f}" cy="{y}" r="5" fill="#1f4e8c"><title>{escape(label)}: {value:.6g}</title></circle>'
        for (label, value), x, y in zip(values, where, range(12, _ROW * len(values) + 12, _ROW), strict=True)
    )
    ends = "".join(
        f'<text x="{x}" y="{height - 8}" text-anchor="{anchor}" font-size="12" fill="#5d6873">{value:.4g}</text>'
        for x, anchor, value in ((_LEFT, "start", low), (_WIDE - 30, "end", high))
    )
    alt = f"{name} of {len(values)} runs, from {low:.4g} to {high:.4g}"
    return (
        f'<figure><svg viewBox="0 0 {_WIDE} {height}" role="img" aria-label="{escape(alt)}" width="100%">{rows}{ends}</svg>'
        f'<figcaption><span class="badge {escape(badge)}">{escape(badge)}</span> <strong>{escape(name)}</strong>: '
        f"from {low:.4g} to {high:.4g} in {len(values)} runs, by {escape(by)}.</figcaption></figure>"
    )


def _table(runs: list[_Done]) -> str:
    recorded = dict.fromkeys(name for run in runs for name in run.metrics)
    differs = {name: len({str(run.metrics.get(name)) for run in runs}) > 1 for name in recorded}
    names = sorted(recorded, key=differs.__getitem__, reverse=True)  # those that differ stand first
    varying = list(runs[0].varying) if runs else []
    head = "".join(f"<th>{escape(name)}</th>" for name in ["run", *varying, *names, "seconds"])
    lines = []
    for run in runs:
        cells = [_short(run.varying[name]) for name in varying]
        cells += [_short(run.metrics.get(name, "–")) for name in names]
        told = "".join(f"<td>{escape(cell)}</td>" for cell in [*cells, f"{run.manifest['seconds']:.1f}"])
        lines.append(
            f'<tr><td><a href="{escape(run.here)}/report.html">{escape(run.manifest["run_id"])}</a></td>{told}</tr>'
        )
    return (
        f'<section id="runs"><h2>The runs</h2><p class="sub">Each name leads to the whole notebook. The same table: '
        f'<a href="runs.parquet">runs.parquet</a>.</p><div class="scroll"><table>{"<tr>" + head + "</tr>"}{"".join(lines)}</table></div></section>'
    )


def _one_per_group(runs: list[_Done]) -> list[_Done]:
    """The first run of each set of models."""
    first: dict[str, _Done] = {}
    for run in runs:
        first.setdefault(json.dumps(sorted(run.manifest["digests"])), run)
    return list(first.values())


def _example(run: _Done) -> str:
    if not run.figures:
        return ""
    shown = "".join(figure(facts, facts["png"], run.here) for facts in run.figures)
    title = f"The figures of one run: {', '.join(sorted(run.manifest['digests'])) or run.label}"
    return (
        f'<section><h2>{escape(title)}</h2><p class="sub"><a href="{escape(run.here)}/report.html">'
        f"{escape(run.manifest['run_id'])}</a>; the others have the same figures in their reports.</p>"
        f'<div class="figures">{shown}</div></section>'
    )


def _others(listed: Sequence[dict[str, Any]]) -> str:
    """Runs that failed or still wait."""
    lines = "".join(
        f'<tr><td>{escape(run["run_id"])}</td><td class="failed">{run["state"]}{_code(run)}</td><td>{escape(_first_line(run.get("message", "")))}</td></tr>'
        for run in listed
        if run["state"] not in ("done", "there")
    )
    if not lines:
        return ""
    return (
        '<section id="failed"><h2 class="failed">Not done</h2><p class="sub">The same sweep started again does these.</p>'
        f'<div class="scroll"><table><tr><th>run</th><th>state (exit code)</th><th>what happened</th></tr>{lines}</table></div></section>'
    )


def _first_line(message: str) -> str:
    return next(iter(message.splitlines()), "")[:300]


def _code(run: dict[str, Any]) -> str:
    return f" ({run['exit_code']})" if "exit_code" in run else ""


def _facts(content: dict[str, Any], runs: list[_Done]) -> str:
    rows = {"sweep": json.dumps(content["file"], ensure_ascii=False)}
    digests = {name: digest for run in runs for name, digest in run.manifest["digests"].items()}
    if digests:
        rows["models and files"] = ", ".join(f"{name} {digest[:12]}" for name, digest in digests.items())
    if runs:
        rows |= circumstances(runs[-1].manifest)
    peaks = [run.manifest["peak_memory_bytes"] for run in runs if run.manifest.get("peak_memory_bytes")]
    rows["peak memory of a run"] = f"{max(peaks) / 1e9:.2f} GB" if peaks else "–"
    return (
        f'<section id="facts"><h2>How it was run</h2>{facts_table(rows)}'
        '<p><a href="sweep.json">sweep.json</a>; each run has its manifest beside its report.</p></section>'
    )


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


def _cut(text: str) -> str:
    return text if len(text) <= 34 else text[:33] + "…"
