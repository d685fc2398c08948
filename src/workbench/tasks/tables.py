"""Reader for the rows of a file: JSON lines, a JSON array, parquet, CSV or TSV; text formats also as `.gz`.

`datasets` is not used: it would infer types ("007" becomes 7), and its errors do not name the row. Cells of CSV and TSV files
remain strings.
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
_LARGEST = 4 << 30  # bytes of a text file, decompressed: a small .gz can expand to terabytes


@dataclass(frozen=True)
class Row:
    """One row of a file: its location for messages ("rows.csv, row 3"), and its fields as JSON values."""

    where: str
    fields: dict[str, Any]


def files_of(data: Path) -> list[Path]:
    """Return the data files at or below a path, sorted; hidden files are skipped, symbolic links followed.

    `.json` files in a folder count only if it has no others, since data sets often include metadata as JSON.

    Raises:
        BadInput: the path does not exist, or has no files of a known kind.
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
    if (real := os.path.realpath(folder)) in seen:  # already visited, through a symbolic link
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
    """Return the kind of a file by its suffix, in lower case and without `.gz`; empty if it is not supported."""
    name = path.name.lower()
    kind = Path(name.removesuffix(".gz")).suffix
    return kind if kind in KINDS and not (kind == ".parquet" and name.endswith(".gz")) else ""


def stem_of(path: Path) -> str:
    """Return a file's name without the suffix that gives its kind."""
    return path.name[: path.name.lower().removesuffix(".gz").rindex(".")]


def read_table(path: Path, needed: Sequence[str]) -> list[Row]:
    """Return the rows of one file; each must have the needed fields.

    Raises:
        BadInput: the content does not match the suffix, or a row lacks a field or holds a value that JSON cannot represent; the
            message names file and row.
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
    """Return the bytes of a text file, decompressed and without a byte-order mark."""
    with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
        content: bytes = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise ValueError(f"it holds more than {_LARGEST >> 30} GiB")
    return content.removeprefix(b"\xef\xbb\xbf")


def _lines(path: Path, content: bytes) -> Iterator[tuple[str, Any]]:
    """Yield the rows of JSON lines; only line breaks separate them (a text may contain U+2028), and blank lines are skipped."""
    for number, line in enumerate(io.BytesIO(content), start=1):
        if line.strip():
            yield f"{path}, line {number}", _parsed(line, f"{path}, line {number}")


def _parsed(line: bytes, where: str) -> Any:
    try:
        return json.loads(line.decode("utf-8"), object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:  # broken JSON, broken UTF-8, or nested too deep
        raise BadInput(f"{where} is not JSON in UTF-8: {error}; repair or remove the line") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object, refusing duplicate fields, of which Python would keep only the last."""
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
        if None in row or None in row.values():  # too many or too few cells
            raise ValueError(f"row {number} has not as many cells as the first line")
    return rows
