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
from workbench.runs.page import circumstances, heading_of, render, shortened
from workbench.runs.sweep_charts import Chart, charts, short


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
        return ", ".join(map(short, self.varying.values())) or "default"

    @property
    def hash(self) -> str:
        """The part of the run's id that is as long for every run."""
        return self.manifest.run_id.rsplit("-", 1)[-1]

    @property
    def badge(self) -> str:
        """The badge of the run's own measurements."""
        own = {figure.facts.badge for figure in self.figures if figure.facts} - {"PUBLISHED"}
        return " ".join(sorted(own)) or "PUBLISHED"


def write_sweep_page(folder: Path) -> Path:
    """Write `index.html` beside a `sweep.json` and return its path."""
    content = read_json(folder / "sweep.json")
    listed, counts = content["runs"], content["counts"]
    runs = _finished(folder, listed)
    notebook = Path(content["file"]["notebook"]).stem
    page = render(
        "sweep",
        title=f"workbench: {notebook}, sweep {content['name']}",
        name=content["name"],
        notebook=notebook,
        heading=heading_of(folder / runs[0].here) if runs else "",
        by=list(runs[0].varying) if runs else [],
        models=sorted({name for run in runs for name in run.manifest.digests}),
        listed=listed,
        whole=counts.get("done", 0) + counts.get("there", 0),
        failed=counts.get("failed", 0),
        charts=_charts(runs),
        **_table(runs),
        examples=_examples(runs),
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


def _charts(runs: list[_Done]) -> list[Chart]:
    """Return a chart per metric and badge; metrics that are equal in all runs appear only in a list."""
    badges = sorted({run.badge for run in runs})
    mine = {badge: [(run.varying, run.metrics) for run in runs if run.badge == badge] for badge in badges}
    return [chart for badge in badges for chart in charts(mine[badge], badge)]


def _table(runs: list[_Done]) -> dict[str, Any]:
    """Return the columns, each run with its cells, and the metrics that are equal in all runs."""
    names = dict.fromkeys(name for run in runs for name in run.metrics)
    differing = [name for name in names if len({str(run.metrics.get(name)) for run in runs}) > 1]
    if len(runs) == 1:
        differing = list(names)
    varying = list(runs[0].varying) if runs else []
    rows = [
        (
            run,
            [short(run.varying[name]) for name in varying],
            [*(short(run.metrics.get(name, "–")) for name in differing), f"{run.manifest.seconds:.1f}"],
        )
        for run in runs
    ]
    equal = {name: short(runs[0].metrics[name]) for name in names if name not in differing}
    return {"columns": ["run", *varying, *differing, "seconds"], "rows": rows, "equal": equal}


def _examples(runs: list[_Done]) -> list[tuple[_Done, list[Figure]]]:
    """Return the first run of each set of models with its figures; those of published scores only once."""
    first: dict[str, _Done] = {}
    for run in runs:
        first.setdefault(json.dumps(sorted(run.manifest.digests)), run)
    shown: set[tuple[str, str]] = set()
    examples = []
    for run in first.values():
        new = [figure for figure in run.figures if (figure.name, figure.png) not in shown or figure.problem]
        shown |= {(figure.name, figure.png) for figure in new}
        examples.append((run, new))
    return [example for example in examples if example[1]]


def _facts(content: dict[str, Any], runs: list[_Done]) -> dict[str, str]:
    facts = {"sweep": json.dumps(content["file"], ensure_ascii=False)}
    digests = {name: digest for run in runs for name, digest in run.manifest.digests.items()}
    if digests:
        facts["models"] = shortened(digests)
    if runs:
        facts |= circumstances(runs[-1].manifest)
    peaks = [run.manifest.peak_memory_bytes for run in runs if run.manifest.peak_memory_bytes]
    return facts | {"peak memory of a run": f"{max(peaks) / 1e9:.2f} GB" if peaks else "–"}
