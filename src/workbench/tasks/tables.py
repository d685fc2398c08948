"""Rows of a file: JSON lines, a JSON array, parquet, CSV or TSV, the text formats also as `.gz`.

`datasets` is not asked: it would guess types ("007" becomes 7) and does not name the row that it cannot read. Cells of CSV
and TSV stay the texts they are.
"""

import csv
import gzip
import io
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyarrow import ArrowException, parquet

from workbench.errors import BadInput
from workbench.tasks.values import plain

KINDS = (".jsonl", ".json", ".parquet", ".csv", ".tsv")
_UNREADABLE = (ValueError, OSError, EOFError, zlib.error, RecursionError, csv.Error, ArrowException)
_LARGEST = 4 << 30  # bytes of a text file, unpacked: a small .gz can hold terabytes


@dataclass(frozen=True)
class Row:
    """One row of a file: the place for messages ("rows.csv, row 3"), and the fields as JSON values."""

    where: str
    fields: dict[str, Any]


def files_of(data: Path) -> list[Path]:
    """The files with rows that are `data`, or lie below it, sorted; hidden ones are left out, links are followed.

    `.json` files of a folder count only where it has no others: data sets often lie beside their descriptions.

    Raises:
        BadInput: nothing there, or nothing of a known kind.
    """
    if not data.exists():
        raise BadInput(f"no data at {data}; give a file or a folder of {', '.join(KINDS)}")
    files = [data] if data.is_file() else sorted(_below(data, set()))
    known = [path for path in files if kind_of(path)]
    if not known:
        raise BadInput(
            f"{data} holds no {', '.join(KINDS)} (or .gz of these); give a file or a folder of those"
        )
    return [path for path in known if kind_of(path) != ".json"] or known


def _below(folder: Path, seen: set[str]) -> Iterator[Path]:
    if (real := os.path.realpath(folder)) in seen:  # a link to a folder above it
        return
    seen.add(real)
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _below(path, seen)
        elif path.is_file():
            yield path


def kind_of(path: Path) -> str:
    """The kind that a file's name says, without `.gz` and in small letters; empty if it is none of ours."""
    name = path.name.lower()
    kind = Path(name.removesuffix(".gz")).suffix
    return kind if kind in KINDS and not (kind == ".parquet" and name.endswith(".gz")) else ""


def stem_of(path: Path) -> str:
    """A file's name without what says its kind."""
    return path.name[: path.name.lower().removesuffix(".gz").rindex(".")]


def read_table(path: Path, needed: Sequence[str]) -> list[Row]:
    """Read the rows of one file, each with the fields needed.

    Raises:
        BadInput: not readable as what its name says, or a row that lacks a field or holds what JSON cannot; the message
            names file and row.
    """
    rows = []
    for where, fields in _found(path):
        if not isinstance(fields, dict):
            raise BadInput(f"{where} holds a {type(fields).__name__}; give an object of fields")
        for name in needed:
            if name not in fields:
                raise BadInput(f"{where} lacks the field {name!r}; needed are {', '.join(needed)}")
        rows.append(Row(where, {k: plain(v, f"{where}, field {k!r},") for k, v in fields.items()}))
    return rows


def _found(path: Path) -> Iterable[tuple[str, Any]]:
    kind = kind_of(path)
    try:
        if kind == ".parquet":
            table = parquet.ParquetFile(path).read()
            _expect_distinct(table.column_names)
            return _counted(path, table.to_pylist())
        content = _content(path)
        if kind == ".json" and content.lstrip().startswith(b"["):
            return _counted(path, json.loads(content, object_pairs_hook=_object))
        return _lines(path, content) if kind in (".jsonl", ".json") else _counted(path, _cells(path, content))
    except _UNREADABLE as error:
        reason = " ".join(str(error).split())
        raise BadInput(f"{path} cannot be read: {reason}; repair it, or write JSON lines") from error


def _counted(path: Path, rows: Iterable[Any]) -> Iterable[tuple[str, Any]]:
    return ((f"{path}, row {number}", row) for number, row in enumerate(rows, start=1))


def _content(path: Path) -> bytes:
    """The bytes of a text file, unpacked and without a byte-order mark."""
    with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
        content: bytes = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise ValueError(f"it holds more than {_LARGEST >> 30} GiB")
    return content.removeprefix(b"\xef\xbb\xbf")


def _lines(path: Path, content: bytes) -> Iterator[tuple[str, Any]]:
    """The rows of JSON lines; only line breaks part them (a text may hold U+2028), and blank lines count for nothing."""
    for number, line in enumerate(io.BytesIO(content), start=1):
        if line.strip():
            yield f"{path}, line {number}", _parsed(line, f"{path}, line {number}")


def _parsed(line: bytes, where: str) -> Any:
    try:
        return json.loads(line.decode("utf-8"), object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:  # broken JSON, broken UTF-8, or nested too deep
        raise BadInput(f"{where} is not JSON in UTF-8: {error}; repair or remove the line") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, of which Python would keep the last of two fields of one name."""
    found = dict(pairs)
    if len(found) < len(pairs):
        _expect_distinct([name for name, _ in pairs])
    return found


def _expect_distinct(names: Sequence[str]) -> None:
    if len(set(names)) < len(names):
        raise ValueError(f"two fields have the same name, of {', '.join(map(repr, names))}")


def _cells(path: Path, content: bytes) -> list[dict[str, Any]]:
    delimiter = "\t" if kind_of(path) == ".tsv" else ","
    text = io.StringIO(content.decode("utf-8"), newline="")
    reader = csv.DictReader(text, delimiter=delimiter, strict=True)
    rows = list(reader)
    _expect_distinct(reader.fieldnames or ())
    for number, row in enumerate(rows, start=1):
        if None in row or None in row.values():  # too many cells, or too few
            raise ValueError(f"row {number} has not as many cells as the first line")
    return rows
