"""A notebook file as data: its code, its parameters cell, and the digest of its sources.

The file is read as JSON and validated, so nothing heavy is imported before a kernel is needed. Only Python notebooks in
nbformat 4 are supported. Fields that editors and other tools omit (metadata, outputs, sources) are filled in.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ValidationError

from workbench.errors import BadInput
from workbench.paths import expanded, notebook_path

_MINORS = range(6)  # of nbformat 4


def _encodable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"half of a surrogate pair at character {error.start}") from error
    return text


def _filled(value: Any) -> Any:
    return {} if value is None else value


def _joined(value: Any) -> Any:
    """Join a list of lines into one text; any other value is returned unchanged, for pydantic to reject."""
    lines = isinstance(value, list) and all(isinstance(line, str) for line in value)
    return "".join(value) if lines else value


Text = Annotated[str, BeforeValidator(_joined)]
Metadata = Annotated[dict[str, Any], BeforeValidator(_filled)]


class _Tags(BaseModel):
    tags: Annotated[list[str], BeforeValidator(lambda value: value or [])] = []


class _Output(BaseModel):
    output_type: str
    name: str = ""
    text: Text = ""
    data: Metadata = {}
    ename: str = ""
    evalue: str = ""
    traceback: list[str] = []


class _Cell(BaseModel):
    """The fields of a cell that are validated; others are kept as they are."""

    cell_type: Literal["code", "markdown", "raw"]
    source: Annotated[Text, AfterValidator(_encodable)] = ""
    metadata: Annotated[_Tags, BeforeValidator(_filled)] = _Tags()
    outputs: Annotated[list[_Output], BeforeValidator(lambda value: value or [])] = []
    execution_count: int | None = None


class _Named(BaseModel):
    name: str | None = None
    language: str | None = None


class _About(BaseModel):
    kernelspec: Annotated[_Named, BeforeValidator(_filled)] = _Named()
    language_info: Annotated[_Named, BeforeValidator(_filled)] = _Named()


class _File(BaseModel):
    nbformat: Literal[4]
    metadata: Annotated[_About, BeforeValidator(_filled)] = _About()
    cells: list[_Cell]


@dataclass(frozen=True)
class Notebook:
    """A notebook as read: `cells` and `metadata` as in the file, with missing fields filled in and each source as one string."""

    path: Path
    cells: tuple[dict[str, Any], ...]
    metadata: dict[str, Any]
    minor: int

    @property
    def code(self) -> tuple[dict[str, Any], ...]:
        """The code cells."""
        return tuple(cell for cell in self.cells if cell["cell_type"] == "code")

    @property
    def parameters_cell(self) -> str:
        """The source of the only cell tagged `parameters`.

        Raises:
            BadInput: there is no such cell, or more than one.
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
        """SHA-256 of the sources of the code cells in order; Markdown, outputs, metadata and injected parameters do not count."""
        sources = [cell["source"] for cell in self.code if "injected-parameters" not in tags(cell)]
        return sha256(json.dumps(sources, ensure_ascii=False).encode()).hexdigest()

    def as_json(self) -> str:
        """Return the notebook as JSON for a kernel, without earlier outputs and without fields that other tools reject."""
        cells = [
            {**cell, "outputs": [], "execution_count": None} if cell["cell_type"] == "code" else cell
            for cell in self.cells
        ]
        content = {"nbformat": 4, "nbformat_minor": self.minor, "metadata": self.metadata, "cells": cells}
        return json.dumps(content)


def read_notebook(path: Path) -> Notebook:
    """Read an .ipynb file.

    Raises:
        BadInput: no such file, not a notebook of nbformat 4, or not Python.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise BadInput(f"no notebook at {path}; give the path of an .ipynb file") from None
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{path} is not a notebook ({error}); give the path of an .ipynb file") from error
    try:
        file = _File.model_validate(content)
    except ValidationError as error:
        raise BadInput(
            f"{path} is not a notebook of format 4 ({_first(error)}); open and save it in a current JupyterLab"
        ) from error
    language = file.metadata.kernelspec.language or file.metadata.language_info.name or "python"
    if language.lower() not in ("python", "ipython"):
        raise BadInput(f"{path.name} is a {language} notebook; only Python notebooks can be run here")
    metadata = {key: part for key, part in (content.get("metadata") or {}).items() if part is not None}
    cells = tuple(_whole(raw, cell) for raw, cell in zip(content["cells"], file.cells, strict=True))
    minor = content.get("nbformat_minor")
    return Notebook(path, cells, metadata, minor if minor in _MINORS else _MINORS[-2])


def _first(error: ValidationError) -> str:
    """Return the first validation error and where it is."""
    problem = error.errors(include_url=False)[0]
    where = ".".join(map(str, problem["loc"])) or "the file"
    return f"{where}: {problem['msg'].removeprefix('Value error, ')}"


def _whole(raw: dict[str, Any], cell: _Cell) -> dict[str, Any]:
    whole = {**raw, "source": cell.source, "metadata": raw.get("metadata") or {}}
    if cell.cell_type == "code":
        whole |= {"outputs": raw.get("outputs") or [], "execution_count": cell.execution_count}
    return whole


def find_notebook(name: str, *, beside: Path = Path()) -> Path:
    """Find a notebook by its path (relative to the working folder or to `beside`), or by the name of one that ships.

    Raises:
        BadInput: there is none; the message lists those that ship.
    """
    for asked in (str(expanded(name)), str(beside / name)):
        for file in (asked, f"{asked}.ipynb"):
            if os.path.isfile(file):  # (Path.is_file raises OSError)
                return Path(file).absolute()
    shipped = sorted(notebook_path().glob("*.ipynb"))
    for path in shipped:
        if Path(name).name in (path.name, path.stem):
            return path
    raise BadInput(
        f"no notebook {name!r}; give a file, or one of: {', '.join(path.stem for path in shipped)}"
    )


def tags(cell: Mapping[str, Any]) -> list[str]:
    """Return the tags of a cell."""
    return list(cell.get("metadata", {}).get("tags") or [])


def last_markdown(notebook: Notebook) -> str:
    """Return the last Markdown that the notebook's code displayed, its computed answer; empty if there is none."""
    for cell in reversed(notebook.code):
        for output in reversed(cell["outputs"]):
            if "text/markdown" in output.get("data", {}):
                return "".join(output["data"]["text/markdown"])
    return ""
