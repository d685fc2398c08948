"""What many runs found, as one table."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from workbench.atomic import read_json, written_whole
from workbench.errors import BadInput
from workbench.runs.folders import MARK, runs_in


def read(place: Path | str = Path("runs"), table: str | None = None) -> pd.DataFrame:
    """Read the finished runs of a sweep, of one run's folder, or of a whole root.

    Args:
        place: A sweep's folder, a run's folder, or the folder of all runs.
        table: A table that the notebook kept (`keep_table(…, name)`); None gives a row per run.

    Returns:
        `run_id`, the parameters (lists as JSON text), and what the run recorded, or the rows of the kept table. What
        was recorded under a parameter's name is called `recorded_<name>`.

    Raises:
        BadInput: there is no finished run, or one without that table.
    """
    place = Path(place).expanduser()
    folders = _folders(place)
    if not folders:
        raise BadInput(f"no finished run in {place}; give the folder of a sweep, of a run, or of all runs")
    if table is None:
        return _frame(folders)
    return pd.concat([_rows(folder, table) for folder in folders], ignore_index=True)


def write_table(sweep: Path) -> None:
    """Write `runs.parquet` beside a `sweep.json`: a row per finished run, in the sweep's order.

    Raises:
        StoreFailed: the disk did not take it.
    """
    with written_whole(sweep / "runs.parquet") as aside:
        _frame(_folders(sweep)).to_parquet(aside, index=False)


def _folders(place: Path) -> list[Path]:
    if (place / "sweep.json").exists():
        found = [place / run["folder"] for run in read_json(place / "sweep.json")["runs"]]
    elif (place / "run.json").exists():
        found = [place]
    else:
        found = runs_in(place)
    return [folder for folder in found if (folder / MARK).exists()]


def _frame(folders: Sequence[Path]) -> pd.DataFrame:
    """A row per run: its id, parameters and metrics."""
    rows = []
    for folder in folders:
        facts = _facts(folder)
        metrics = read_json(folder / "metrics.json")
        rows.append(facts | {f"recorded_{key}" if key in facts else key: metrics[key] for key in metrics})
    return pd.DataFrame(rows, columns=None if rows else ["run_id"])


def _facts(folder: Path) -> dict[str, Any]:
    manifest = read_json(folder / "run.json")
    plain = {
        name: value
        if isinstance(value, str | int | float) or value is None
        else json.dumps(value, ensure_ascii=False)
        for name, value in manifest["parameters"].items()
    }
    return {"run_id": manifest["run_id"], "notebook": manifest["notebook"], **plain}


def _rows(folder: Path, table: str) -> pd.DataFrame:
    path = folder / f"{table}.parquet"
    if not path.exists():
        kept = ", ".join(sorted(each.stem for each in folder.glob("*.parquet"))) or "none"
        raise BadInput(f"the run {folder.name} kept no table {table!r}; it kept: {kept}")
    rows = pd.read_parquet(path)
    facts = {key: value for key, value in _facts(folder).items() if key not in rows.columns}
    return rows.assign(**facts)[[*facts, *rows.columns]]
