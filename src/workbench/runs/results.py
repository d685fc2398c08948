"""Results of many runs as one table."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from workbench.atomic import read_json, written_whole
from workbench.errors import BadInput
from workbench.paths import expanded
from workbench.runs.folders import MARK
from workbench.runs.manifests import Kept, kept, kept_in


def read(place: Path | str = Path("runs"), table: str | None = None) -> pd.DataFrame:
    """Read the finished runs of a sweep, of one run's folder, or of a whole root.

    Args:
        place: A sweep's folder, a run's folder, or the folder of all runs.
        table: A table that the notebook stored (`keep_table(…, name)`); None returns one row per run.

    Returns:
        `run_id`, `notebook`, the parameters (lists as JSON text), and the recorded metrics or the rows of the stored table.
        A metric that has the name of a parameter is called `recorded_<name>`.

    Raises:
        BadInput: there is no finished run, one without that table, or one that cannot be read.
    """
    place = expanded(place)
    runs = [run for run in _runs(place) if (run.folder / MARK).exists()]
    if not runs:
        raise BadInput(f"no finished run in {place}; give the folder of a sweep, of a run, or of all runs")
    for run in runs:
        if run.problem:
            raise BadInput(f"the run in {run.folder} is {run.problem}")
    if table is None:
        return _frame(runs)
    return pd.concat([_rows(run, table) for run in runs], ignore_index=True)


def write_table(sweep: Path) -> None:
    """Write `runs.parquet` beside a `sweep.json`: one row per finished run, in the sweep's order.

    Raises:
        StoreFailed: the file could not be written.
    """
    with written_whole(sweep / "runs.parquet") as aside:
        _frame([run for run in _runs(sweep) if run.is_finished]).to_parquet(aside, index=False)


def _runs(place: Path) -> list[Kept]:
    if (place / "sweep.json").exists():
        return [kept(place / run["folder"]) for run in read_json(place / "sweep.json")["runs"]]
    return [kept(place)] if (place / "run.json").exists() else kept_in(place)


def _frame(runs: Sequence[Kept]) -> pd.DataFrame:
    """Return one row per run: its id, notebook, parameters and metrics."""
    rows = []
    for run in runs:
        facts = _facts(run)
        recorded = {f"recorded_{key}" if key in facts else key: value for key, value in run.metrics.items()}
        rows.append(facts | recorded)
    return pd.DataFrame(rows, columns=None if rows else ["run_id"])


def _facts(run: Kept) -> dict[str, Any]:
    if run.manifest is None:
        return {}
    plain = {
        name: value
        if isinstance(value, str | int | float) or value is None
        else json.dumps(value, ensure_ascii=False)
        for name, value in run.manifest.parameters.items()
    }
    return {"run_id": run.manifest.run_id, "notebook": run.manifest.notebook, **plain}


def _rows(run: Kept, table: str) -> pd.DataFrame:
    path = run.folder / f"{table}.parquet"
    if not path.exists():
        there = ", ".join(sorted(each.stem for each in run.folder.glob("*.parquet"))) or "none"
        raise BadInput(f"the run {run.folder.name} kept no table {table!r}; it kept: {there}")
    rows = pd.read_parquet(path)
    facts = {key: value for key, value in _facts(run).items() if key not in rows.columns}
    return rows.assign(**facts)[[*facts, *rows.columns]]
