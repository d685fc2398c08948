"""The xP3 file format: the layout of a mixture's files, the content of a line, and how such files are written.

`<language>/xp3_<dataset>_<subset>_<split>_<template>.jsonl`, with "/" and " " written "_", "None" for no subset, and
the language that of the target; every line holds `inputs` and `targets` and nothing else (data set and template are
in the name alone). This is the format of bigscience-workshop/bigscience, data/xp3/prepare_xp3_train.py. On the hub a
language may also have `merged_<language>.jsonl` (the one file that bigscience/xP3's own loader reads), which holds the same
lines again. Further keys, as in xP3x, are ignored when read.
"""

import json
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from huggingface_hub.errors import HTTPError

from workbench.atomic import make_folder, written_whole
from workbench.errors import BadInput, NotReachable, UnknownName
from workbench.prompts import is_text

KEYS = ("inputs", "targets")
LAYOUT = "<folder>/<language>/<name>.jsonl with the keys inputs and targets on every line"

_PACKED = tuple(f".jsonl.{kind}" for kind in ("gz", "zst", "xz", "bz2", "zip"))


@dataclass(frozen=True)
class Pair:
    """A prompt and its target text, neither of them empty."""

    inputs: str
    targets: str


@dataclass(frozen=True)
class DataFile:
    """One file of a mixture: its path or address, its language (the folder), its name, its size in bytes."""

    path: str
    language: str
    name: str
    size: int


def parse(line: str | bytes, path: str, number: int) -> Pair:
    """Parse one line of a file.

    Raises:
        BadInput: not a JSON object in UTF-8, a key that is missing or not a string, an empty text; names file and line.
    """
    where = f"{path}, line {number}"
    try:
        row = json.loads(
            line.removeprefix("\ufeff") if isinstance(line, str) else line
        )  # json handles a byte order mark in bytes only
    except (ValueError, RecursionError) as error:  # malformed JSON or UTF-8, or nested too deeply
        raise BadInput(f"{where} is not JSON in UTF-8: {error}; repair or remove the line") from error
    if not isinstance(row, dict):
        raise BadInput(f"{where} holds a {type(row).__name__}; an object with inputs and targets is needed")
    for key in KEYS:
        if key not in row:
            raise BadInput(f"{where} lacks the key {key!r}; it has: {', '.join(row) or 'none'}")
        if not isinstance(row[key], str) or not row[key].strip():
            raise BadInput(f"{where}: {key!r} is {row[key]!r}; a text that is not empty is needed")
        if not is_text(row[key]):
            raise BadInput(f"{where}: {key!r} holds half of a surrogate pair; repair or remove the line")
    return Pair(row["inputs"], row["targets"])


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Convert errors of reading a file within the block.

    Raises:
        BadInput: a file on this machine cannot be read. NotReachable: one on the hub cannot.
    """
    try:
        yield
    except HTTPError as error:
        raise NotReachable(f"reading {path} was interrupted: {error}; start again to resume") from error
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error}; repair it, or leave it out") from error


def parse_all(lines: Iterable[str | bytes], path: str) -> Iterator[Pair]:
    """Yield the pairs of a file's lines; blank lines at its end are ignored.

    Raises:
        BadInput: as `parse`, or a blank line before others.
    """
    blank = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            blank = blank or number
            continue
        if blank:
            parse("", path, blank)
        yield parse(line, path, number)


def file_name(dataset: str, subset: str | None, split: str, template: str) -> str:
    """Return the name of a file as in xP3: `xp3_<dataset>_<subset>_<split>_<template>.jsonl`, without "/" and " "."""
    return f"xp3_{dataset}_{subset}_{split}_{template}.jsonl".replace("/", "_").replace(" ", "_")


def write(folder: Path, language: str, name: str, pairs: Iterable[Pair]) -> Path:
    """Write a file of a mixture atomically; the same pairs give the same bytes.

    Raises:
        BadInput: an empty text, or no pair at all.
        StoreFailed: the file could not be written; nothing is left behind.
    """
    path = folder / language / name
    make_folder(path.parent)
    written = 0
    with written_whole(path) as aside, aside.open("w", encoding="utf-8", newline="\n") as file:
        for written, pair in enumerate(pairs, start=1):
            line = json.dumps({"inputs": pair.inputs, "targets": pair.targets}, ensure_ascii=False)
            parse(line, str(path), written)
            file.write(line + "\n")
        if not written:
            raise BadInput(f"no pairs for {path}; a mixture has no empty files")
    return path


def find_files(root: str, languages: Sequence[str] | None = None, names: str = "*") -> list[DataFile]:
    """List a mixture's files under a folder or an address such as `hf://datasets/bigscience/xP3`, sorted.

    Args:
        languages: Folders to include, all by default.
        names: A pattern for the files' names, such as `xp3_xquad_*`.

    Returns:
        The files; for a language with single files and a merged one, only the single ones (the lines are the same).

    Raises:
        UnknownName: a language that has no folder; the message lists those there are.
        BadInput: no files in this layout, a compressed file, or a language in which the pattern matches no file.
    """
    system, base = url_to_fs(root)
    languages = list(languages or ())
    scheme = root[: root.index("://") + 3] if "://" in root else ""
    found, packed = [], []
    for path, facts in _listed(system, base):
        language, _, name = posixpath.relpath(path, base).partition("/")
        if not name or "/" in name or language.startswith(".") or name.startswith("."):
            continue
        if name.lower().endswith(".jsonl"):
            found.append(DataFile(scheme + path, language, name, int(facts["size"])))
        elif name.lower().endswith(_PACKED):
            packed.append((language, name))
    _expect_unpacked(root, packed, found, languages)
    if not found:
        raise BadInput(f"{root} does not hold a mixture; expected is {LAYOUT}")
    there = sorted({file.language for file in found})
    for language in languages:
        if language not in there:
            raise UnknownName(f"{root} has no language {language!r}; it has: {', '.join(there)}")
    asked = [file for file in found if file.language in set(languages or there)]
    taken = _without_merged([file for file in asked if fnmatchcase(file.name, names)])
    missing = {file.language for file in asked} - {file.language for file in taken}
    if missing:
        raise BadInput(
            f"no file of {', '.join(sorted(missing))} in {root} matches {names!r}; drop the pattern or the language"
        )
    return taken


def _listed(system: AbstractFileSystem, base: str) -> list[tuple[str, dict[str, Any]]]:
    """List files two levels down, sorted; links to folders, which the file system lists as files, are followed."""
    found = system.find(base, maxdepth=2, detail=True)
    links = [path for path, facts in found.items() if facts.get("islink") and system.isdir(path)]
    for link in links:
        found |= system.find(link, maxdepth=1, detail=True)
    return sorted(found.items())


def _expect_unpacked(
    root: str, packed: Iterable[tuple[str, str]], found: Iterable[DataFile], languages: Sequence[str]
) -> None:
    there = {(file.language, file.name) for file in found}
    for language, name in packed:
        unpacked = name[: name.rindex(".")]
        if (not languages or language in languages) and (language, unpacked) not in there:
            raise BadInput(
                f"{root}/{language}/{name} is compressed, but lines are drawn at random positions; decompress it to {unpacked}"
            )


def _without_merged(found: list[DataFile]) -> list[DataFile]:
    single = {file.language for file in found if file.name != f"merged_{file.language}.jsonl"}
    return [f for f in found if f.language not in single or f.name != f"merged_{f.language}.jsonl"]
