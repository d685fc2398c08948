"""`python -m workbench.runs.summary FOLDER…` prints the runs in some folders as a Markdown table, for a CI job's page."""

import sys
from collections.abc import Iterable
from pathlib import Path

from workbench.runs.manifests import kept_in


def summary(roots: Iterable[Path]) -> str:
    """Return a Markdown table of runs, including failed ones: status, seconds, peak memory, number of recorded metrics."""
    lines = ["| run | status | seconds | peak GB | recorded |", "|---|---|---:|---:|---|"]
    for run in (run for root in roots for run in kept_in(root)):
        name = f"{run.folder.parent.name}/{run.folder.name}"
        if run.manifest is None:
            lines.append(f"| {name} | {run.problem} | | | |")
            continue
        peak = (run.manifest.peak_memory_bytes or 0) / 1e9
        status = run.manifest.status + (f" ({run.manifest.exit_code})" if run.manifest.exit_code else "")
        recorded = f"{len(run.metrics)} values"
        lines.append(f"| {name} | {status} | {run.manifest.seconds:.1f} | {peak:.2f} | {recorded} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(summary(map(Path, sys.argv[1:])))
