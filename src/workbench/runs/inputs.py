"""What a run reads besides its models, as part of its id: named files and folders, and modules beside the notebook.

Covered are these modules, at any depth of imports, and paths, absolute or relative to the notebook's folder, that are a
whole string in a parameter, in the notebook's code or in the code of these modules. Not covered are paths composed in code
or by patterns, paths that the code writes to (`to_csv("x.csv")`), folders that contain the notebook itself, modules from
elsewhere, and the network.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

from workbench.paths import expanded
from workbench.runs.notebooks import Notebook, tags
from workbench.runs.reference_models import texts_in
from workbench.runs.sources import modules_beside, parsed, texts, written_names

_MUCH = 2**30  # bytes; larger files and folders are identified without reading them
_LONGEST = 4096  # characters of a path
_NO_FILES = ("/dev/", "/proc/", "/sys/")


@dataclass(frozen=True)
class Reads:
    """What one run reads: digests by the names that appear in code or parameters; `modules` lists those that are modules."""

    folder: Path
    digests: dict[str, str]
    stamps: dict[str, str]
    modules: tuple[str, ...]

    def changed(self, names: Iterable[str] | None = None) -> list[str]:
        """Return the names, among these or all, whose files have changed."""
        places = {name: _place(self.folder, name) for name in (self.digests if names is None else names)}
        return sorted(
            name
            for name, place in places.items()
            if _stamp(place) != self.stamps[name] and _digest(place) != self.digests[name]
        )


class Reader:
    """Computes digests of what the runs of one notebook read; a file that many of them name is read once."""

    def __init__(self, notebook: Notebook) -> None:
        self._folder = notebook.path.parent
        self._known: dict[str, tuple[str, str]] = {}
        code = (cell["source"] for cell in notebook.code if "parameters" not in tags(cell))
        cells = [tree for source in code if (tree := parsed(source)) is not None]
        modules = modules_beside(cells, self._folder)
        trees = [*cells, *modules.values()]
        self._modules = tuple(sorted(modules))
        self._written = {name for tree in trees for name in written_names(tree)}
        self._named = {text for tree in trees for text in texts(tree, self._written)}

    def of(self, parameters: Mapping[str, Any], models: Iterable[str]) -> Reads:
        """Return what a run reads; names of models are skipped, since models have their own digests."""
        given = {name: value for name, value in parameters.items() if name not in self._written}
        names = {*self._modules, *self._named, *texts_in(given)} - set(models)
        found = {name: self._facts(name) for name in sorted(names) if self._is_there(name)}
        digests = {name: digest for name, (digest, _) in found.items()}
        return Reads(
            self._folder, digests, {name: stamp for name, (_, stamp) in found.items()}, self._modules
        )

    def _is_there(self, name: str) -> bool:
        if not name.strip() or len(name) > _LONGEST or name.startswith(_NO_FILES):
            return False
        place = _place(self._folder, name)
        if os.path.isdir(place):
            return not self._folder.resolve().is_relative_to(os.path.realpath(place))
        return os.path.isfile(place)  # Path.is_file raises if a name is too long

    def _facts(self, name: str) -> tuple[str, str]:
        if name not in self._known:
            place = _place(self._folder, name)
            self._known[name] = (_digest(place), _stamp(place))
        return self._known[name]


def _place(folder: Path, name: str) -> Path:
    return folder / expanded(name)


def _files(place: Path) -> list[tuple[str, Path]]:
    """Return (relative name, path) of the file itself, or of the files of a folder without caches and hidden files."""
    if not place.is_dir():
        return [("", place)]
    found = []
    for path in place.rglob("*"):
        parts = path.relative_to(place).parts
        if path.is_file() and not any(part == "__pycache__" or part.startswith(".") for part in parts):
            found.append(("/".join(parts), path))
    return sorted(found)


def _digest(place: Path) -> str:
    """Return the SHA-256 of a file, or over a folder's names and digests; above 1 GiB, over names, sizes and times."""
    try:
        files = _files(place)
        if sum(path.stat().st_size for _, path in files) > _MUCH:
            return f"times:{_stamp(place)}"
        lines = [(name, _bytes_digest(path)) for name, path in files]
    except OSError as error:  # missing or not readable; the run itself will report it
        return f"unreadable:{error.errno}"
    return lines[0][1] if place.is_file() else _hashed(lines)


def _bytes_digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _stamp(place: Path) -> str:
    """Return a hash over names, sizes and modification times."""
    try:
        stats = [(name, path.stat()) for name, path in _files(place)]
    except OSError as error:
        return f"unreadable:{error.errno}"
    return _hashed([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats])


def _hashed(facts: list[Any]) -> str:
    return sha256(repr(facts).encode(errors="surrogateescape")).hexdigest()
