"""Executed notebooks that can be committed: outputs are kept, and whatever differs between machines is removed."""

import base64
import json
import re
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from workbench.atomic import write_atomically
from workbench.paths import PACKAGE
from workbench.runs.notebooks import read_notebook, tags
from workbench.runs.supervise import run

# Home, temporary and private folders, as they appear in warnings and tracebacks.
MACHINE_PATH = re.compile(
    r"(?<![\w.])(?:/home/|/root/|/Users/|/tmp/|/var/folders/|/private/|[A-Z]:\\Users\\)[^\s'\"<>,;:)]*"
)
_PAPERMILLS = {"injected-parameters", "papermill-error-cell-tag"}


def execute_committed(path: Path | str, *, root: Path | str | None = None) -> Path:
    """Run a notebook with its default parameters and replace the file with the executed copy.

    The first figure is written to `figures/<notebook>.png` beside it, for pages that show one.

    Args:
        path: The notebook.
        root: Where the run is stored (and reused, if the same run is there); None discards it.

    Raises:
        WorkbenchError: as `run`; the file is then unchanged.
    """
    path = Path(path).absolute()
    with TemporaryDirectory(prefix="workbench-") as temporary:
        folder = run(path, root=root or temporary).folder
        executed = read_notebook(folder / "notebook.ipynb")
    here = {
        rf"{re.escape(str(folder.parent))}/\.[^/]*\.part": "run",  # where it was written
        re.escape(str(path.parent)): ".",
        re.escape(str(PACKAGE.parents[1])): ".",
    }
    ours = [cell for cell in executed.code if not set(tags(cell)) & _PAPERMILLS]
    outputs = iter([_clean_outputs(cell["outputs"], number, here) for number, cell in enumerate(ours, 1)])
    content = json.loads(
        path.read_text(encoding="utf-8")
    )  # Markdown may have changed since the run; code has not
    numbers = count(1)
    for cell in content["cells"]:
        cell["metadata"] = _kept_metadata(cell)
        if cell["cell_type"] == "code":
            cell["execution_count"], cell["outputs"] = next(numbers), next(outputs)
            for output in cell["outputs"]:
                if output["output_type"] == "execute_result":
                    output["execution_count"] = cell["execution_count"]
    content["metadata"] = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "workbench": {"executed_sources": executed.digest},
    }
    write_atomically(path, json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    _show_first_figure(content["cells"], path.parent / "figures" / f"{path.stem}.png")
    return path


def _kept_metadata(cell: dict[str, Any]) -> dict[str, Any]:
    """Return a cell's tags, and whether JupyterLab hides its source, as far as they are set."""
    hides = cell["metadata"].get("jupyter", {}).get("source_hidden")
    kept = {"tags": tags(cell), "jupyter": {"source_hidden": True} if hides else {}}
    return {name: value for name, value in kept.items() if value}


def _show_first_figure(cells: list[dict[str, Any]], target: Path) -> None:
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    pictures = [output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    if pictures:
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(base64.b64decode(pictures[0]))


def check_committed(path: Path | str) -> list[str]:
    """Return the problems of a committed notebook; the list is empty if there are none.

    A problem is code other than that executed, cells not executed once each in order, an output that is an error or a
    warning, or an output that contains a path of some machine.
    """
    notebook = read_notebook(Path(path))
    problems = []
    if notebook.metadata.get("workbench", {}).get("executed_sources") != notebook.digest:
        problems.append(f"{notebook.path.name}: the code is not what was executed; run `make notebooks`")
    counts = [cell["execution_count"] for cell in notebook.code]
    if counts != list(range(1, len(counts) + 1)):
        problems.append(f"{notebook.path.name}: its cells were not executed once each, in order: {counts}")
    for number, cell in enumerate(notebook.code, 1):
        for output in cell["outputs"]:
            failed = output["output_type"] == "error" and "raises-exception" not in tags(cell)
            if failed or output.get("name") == "stderr":
                problems.append(f"{notebook.path.name}: cell In [{number}] holds an error or a warning")
            found = MACHINE_PATH.search(json.dumps({**output, "data": _texts(output)}, ensure_ascii=False))
            if found:
                problems.append(
                    f"{notebook.path.name}: cell In [{number}] shows a path of some machine: {found.group()}"
                )
    return problems


def _clean_outputs(
    outputs: list[dict[str, Any]], number: int, places: dict[str, str]
) -> list[dict[str, Any]]:
    """Remove warnings, widgets, machine paths and random ids from outputs, so that equal results give equal files.

    `places` are names by patterns of the paths that they replace.
    """
    clean: list[dict[str, Any]] = []
    for output in outputs:
        if output.get("name") == "stderr" or "application/vnd.jupyter.widget-view+json" in output.get(
            "data", {}
        ):
            continue
        if clean and output.get("name") == clean[-1].get("name") == "stdout":  # streams are split arbitrarily
            clean[-1]["text"] = "".join([*clean[-1]["text"], *output["text"]]).splitlines(keepends=True)
        else:
            clean.append(output)
    return [_steady(output, number, places) for output in clean]


def _steady(value: Any, number: int, places: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {
            key: part if key == "image/png" else _steady(part, number, places) for key, part in value.items()
        }
    if isinstance(value, list):
        return [_steady(part, number, places) for part in value]
    if isinstance(value, str):
        for place, name in places.items():
            value = re.sub(place, name, value)
        value = re.sub(r"\bT_[0-9a-f]{5}(?![0-9a-z])", f"T_{number}", value)  # a styled table's random id
        return re.sub(r"\bat 0x[0-9a-f]+", "at 0x…", value)
    return value


def _texts(output: dict[str, Any]) -> dict[str, Any]:
    return {kind: value for kind, value in output.get("data", {}).items() if not kind.startswith("image/")}
