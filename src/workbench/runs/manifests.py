"""Stored runs as pages and tables read them; each file is validated, so that a damaged one affects only its own run."""

import base64
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from workbench.errors import BadInput
from workbench.runs.folders import MARK

T = TypeVar("T", bound=BaseModel)


class _Checked(BaseModel):
    model_config = ConfigDict(frozen=True)


class Hardware(_Checked):
    """The machine."""

    processor: str = "–"
    cores: int | None = None
    gpus: tuple[str, ...] = ()


class Git(_Checked):
    """The state of the checkout."""

    commit: str | None = None
    dirty: bool = False


class Failure(_Checked):
    """Why a run did not succeed."""

    type: str = ""
    message: str = ""


class Manifest(_Checked):
    """The fields of a `run.json` that are shown or compared; other fields are ignored."""

    run_id: str
    notebook: str
    notebook_path: str = ""
    status: str
    exit_code: int
    ended: datetime
    seconds: float
    parameters: dict[str, Any]
    given: dict[str, Any] = {}
    digests: dict[str, str] = {}
    reads: dict[str, str] = {}
    code_sha256: str = ""
    data_sha256: str = ""
    python: str = ""
    packages: dict[str, str] = {}
    error: Failure | None = None
    failed_before: tuple[str, ...] = ()
    peak_memory_bytes: int | None = None
    facts: dict[str, Any] = {}
    answer: str = ""
    git: Git | None = None
    hardware: Hardware = Hardware()


class Metrics(_Checked):
    """The metrics that a run recorded."""

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, float | int | str | bool]


class FigureFacts(_Checked):
    """The metadata stored beside a figure."""

    badge: Literal["PUBLISHED", "MEASURED", "SYNTHETIC"]
    alt: str
    rows: int
    width: int = 660  # in CSS pixels, at which its text has the size of other text


@dataclass(frozen=True)
class Kept:
    """The folder of a run with its manifest and metrics, or the `problem` that prevented reading them."""

    folder: Path
    manifest: Manifest | None
    metrics: dict[str, Any]
    problem: str = ""

    @property
    def is_finished(self) -> bool:
        """Whether the run succeeded and can be read."""
        return self.manifest is not None and (self.folder / MARK).exists()


@dataclass(frozen=True)
class Figure:
    """A figure of a run with its metadata and picture, or the `problem` that prevented reading them."""

    name: str
    facts: FigureFacts | None = None
    png: str = ""
    problem: str = ""


def kept_in(root: Path) -> list[Kept]:
    """Return the runs under a root, including those that failed, cannot be read, were interrupted or are still running."""
    folders = {path.parent for path in root.glob("*/[!.]*/run.json")}
    folders |= {path for path in root.glob("*/[!.]*.failed-*") if path.is_dir()}
    return [kept(folder) for folder in sorted(folders | set(root.glob("*/.*.part")))]


def kept(folder: Path) -> Kept:
    """Read one run's folder."""
    if not (folder / "run.json").exists():
        there = [path for path in (folder, *folder.glob("*")) if path.exists()]
        if not there:
            return Kept(folder, None, {}, "missing: its folder is not there")
        last = max(path.stat().st_mtime for path in there)
        when = datetime.fromtimestamp(last, UTC).strftime("%d %B %Y, %H:%M UTC")
        going_on = "it goes on, or " if folder.name.startswith(".") else ""
        return Kept(folder, None, {}, f"unfinished: {going_on}its process was ended; last written {when}")
    try:
        return Kept(folder, *_manifest_and_metrics(folder))
    except BadInput as error:
        return Kept(folder, None, {}, f"unreadable: {_without(folder, error)}")


def expect_run(folder: Path) -> tuple[Manifest, dict[str, Any]]:
    """Return the manifest and the metrics of a run that succeeded.

    Raises:
        BadInput: there is no such run in the folder, or it cannot be read.
    """
    if not os.path.exists(folder / MARK):  # os.path.exists does not raise for a long name
        raise BadInput(
            f"no finished run in {folder}; give the folder of one that succeeded, as in runs/<notebook>/<run id>"
        )
    return _manifest_and_metrics(folder)


def _without(folder: Path, error: Exception) -> str:
    """Return a message with names relative to the folder, for a page that may be read elsewhere."""
    return str(error).replace(f"{folder}{os.sep}", "")


def _manifest_and_metrics(folder: Path) -> tuple[Manifest, dict[str, Any]]:
    remedy = "delete the folder and run it again"
    manifest = read_as(folder / "run.json", Manifest, "is no manifest of a run", remedy)
    path = folder / "metrics.json"
    metrics = read_as(path, Metrics, "holds no metrics", remedy).model_extra if path.exists() else {}
    return manifest, metrics or {}


def figures_of(folder: Path) -> list[Figure]:
    """Return the figures of a run in the order in which they were made."""
    found = []
    for path in sorted(folder.glob("figures/*.json"), key=lambda path: (path.stat().st_mtime, path.name)):
        try:
            png = base64.b64encode(path.with_suffix(".png").read_bytes()).decode()
            found.append(
                Figure(
                    path.stem, read_as(path, FigureFacts, "does not describe a figure", "run it again"), png
                )
            )
        except (BadInput, OSError) as error:
            found.append(Figure(path.stem, problem=_without(path.parent, error)))
    return found


def read_as(path: Path, kind: type[T], otherwise: str, remedy: str) -> T:
    """Return the content of a JSON file as a pydantic model.

    Args:
        path: The file.
        kind: The model.
        otherwise: What to say of a file that does not match, as "is no manifest of a run".
        remedy: What to do about it.

    Raises:
        BadInput: the file cannot be read, or does not match.
    """
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise BadInput(f"{path} {otherwise}: {where}: {first['msg']}; {remedy}") from error
