"""A notebook file as data: its code, its parameters cell, and the digest of its sources.

Read as JSON, so that nothing heavy is imported before a kernel is needed. Only nbformat 4 and Python notebooks.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from workbench.errors import BadInput
from workbench.paths import notebook_path


@dataclass(frozen=True)
class Notebook:
    """A notebook as read: `cells` and `metadata` are the file's own, sources joined into one string each."""

    path: Path
    cells: tuple[dict[str, Any], ...]
    metadata: dict[str, Any]

    @property
    def code(self) -> tuple[dict[str, Any], ...]:
        """The code cells."""
        return tuple(cell for cell in self.cells if cell["cell_type"] == "code")

    @property
    def parameters_cell(self) -> str:
        """The source of the one cell tagged `parameters`.

        Raises:
            BadInput: there is none, or more than one.
        """
        found = [cell["source"] for cell in self.code if "parameters" in tags(cell)]
        if len(found) != 1:
            raise BadInput(
                f"{self.path.name} has {len(found) or 'no'} cells tagged 'parameters' – exactly one is needed – in "
                "JupyterLab: Property Inspector, Cell Tags; assign one literal per line in it"
            )
        return str(found[0])

    @property
    def digest(self) -> str:
        """SHA-256 of the code cells' sources in order; text, outputs and metadata do not count."""
        sources = [cell["source"] for cell in self.code if "injected-parameters" not in tags(cell)]
        return sha256(json.dumps(sources, ensure_ascii=False).encode()).hexdigest()


def read_notebook(path: Path) -> Notebook:
    """Read an .ipynb file.

    Raises:
        BadInput: no such file, not a notebook of nbformat 4, or not Python.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(f"no notebook at {path}; give the path of an .ipynb file") from None
    except (IsADirectoryError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is not a notebook ({error}); give the path of an .ipynb file") from error
    if not isinstance(content, dict) or content.get("nbformat") != 4 or "cells" not in content:
        raise BadInput(f"{path} is not a notebook of format 4; open and save it in a current JupyterLab")
    language = content["metadata"].get("kernelspec", {}).get("language", "python")
    if language != "python":
        raise BadInput(f"{path.name} is a {language} notebook; only Python notebooks can be run here")
    cells = tuple({**cell, "source": "".join(cell["source"])} for cell in content["cells"])
    return Notebook(path, cells, content["metadata"])


def find_notebook(name: str, *, beside: Path = Path()) -> Path:
    """Find a notebook by its file (from here, or from `beside`), or by the name of one that ships.

    Raises:
        BadInput: there is none; those that ship are listed.
    """
    for asked in (Path(name).expanduser(), beside / name):
        for path in (asked, Path(f"{asked}.ipynb")):
            if path.is_file():
                return path.absolute()
    shipped = sorted(notebook_path().glob("*.ipynb"))
    for path in shipped:
        if Path(name).name in (path.name, path.stem):
            return path
    raise BadInput(
        f"no notebook {name!r}; give a file, or one of: {', '.join(path.stem for path in shipped)}"
    )


def tags(cell: Mapping[str, Any]) -> list[str]:
    """The tags of a cell."""
    return list(cell.get("metadata", {}).get("tags", []))


def last_markdown(notebook: Notebook) -> str:
    """The last Markdown that the notebook's code displayed: its computed answer; empty if there was none."""
    for cell in reversed(notebook.code):
        for output in reversed(cell["outputs"]):
            if "text/markdown" in output.get("data", {}):
                return "".join(output["data"]["text/markdown"])
    return ""
