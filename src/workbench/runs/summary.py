"""`python -m workbench.runs.summary FOLDER…`: the runs in some folders as a Markdown table, for a CI job's page."""

import sys
from collections.abc import Iterable
from pathlib import Path

from workbench.atomic import read_json
from workbench.runs.folders import runs_in


def summary(roots: Iterable[Path]) -> str:
    """A row per run, failed ones too: how it ended, seconds, peak memory, and how much it recorded."""
    lines = ["| run | status | seconds | peak GB | recorded |", "|---|---|---:|---:|---|"]
    for root in roots:
        for folder in runs_in(root):
            manifest, recorded = read_json(folder / "run.json"), read_json(folder / "metrics.json")
            peak = (manifest.get("peak_memory_bytes") or 0) / 1e9
            status = manifest["status"] + (f" ({manifest['exit_code']})" if manifest["exit_code"] else "")
            name = f"{manifest['notebook']}/{folder.name}"
            lines.append(
                f"| {name} | {status} | {manifest['seconds']:.1f} | {peak:.2f} | {len(recorded)} values |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    print(summary(map(Path, sys.argv[1:])))
