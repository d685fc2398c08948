"""Rows of a published task: from the hub at a stated revision, or from files in the same schema.

Files are JSON lines, parquet, CSV or TSV. Their language is told by a field `language`, or by a word of their path
(`val.sw.jsonl`, `sw/validation.parquet`). From the hub come the parquet files of one revision, through the client's
cache, so that what was fetched once is found offline; `datasets` itself is not asked, since it would report every
reading, and cannot tell a missing revision from a missing network.
"""

import csv
import re
from collections.abc import Sequence
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    HTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from pyarrow import parquet

from workbench.errors import BadInput, NotReachable, UnknownName
from workbench.store import canonical
from workbench.tasks.benchmarks import Benchmark
from workbench.tasks.local import read_lines, select

_KINDS = (".jsonl", ".parquet", ".csv", ".tsv")
_SPLITS = ("train", "validation", "val", "dev", "test")
_SAME_SPLIT = {"validation": ("validation", "val", "dev"), "test": ("test",)}


def read_benchmark(
    benchmark: Benchmark,
    languages: Sequence[str] | None = None,
    limit: int | None = None,
    data: Path | None = None,
    revision: str | None = None,
) -> list[dict[str, Any]]:
    """Read a published task's rows, each with id, language, cluster (its meaning) and label (0 for the first choice).

    Args:
        languages: which of the task's; all by default.
        limit: how many meanings of each language, from the first.
        data: a file or folder in the published schema; the hub by default.
        revision: of the hub; by default the one that the table of tasks states.

    Raises:
        UnknownName: a language that the task (or the folder) does not have.
        BadInput: no fitting file, or a row that lacks a field or a label; the message names file and row.
        NotReachable: not in the hub's cache at that revision, and the hub cannot be asked.
    """
    for language in languages or []:
        if language not in benchmark.languages:
            raise UnknownName(
                f"{benchmark.name} has no language {language!r}; it has: {', '.join(benchmark.languages)}"
            )
    wanted = list(languages or benchmark.languages)
    if data is None:
        files = {language: fetch(benchmark, language, revision) for language in wanted}
    else:
        files = local_files(benchmark, data, wanted, all_asked=bool(languages))
    found = [_rows(benchmark, language, paths) for language, paths in files.items()]
    if benchmark.meaning:
        return select(list(chain.from_iterable(found)), None, limit, benchmark.name)
    return [row for rows in found for row in rows[:limit]]  # not parallel: the first of each language


def read_any(
    name: str, data: Path, languages: Sequence[str] | None = None, limit: int | None = None
) -> list[dict[str, Any]]:
    """Read a task of your own from a file or folder: rows with `label` and whatever your templates name.

    `language` may be a field; rows without one are "und". `id` and `cluster` may be fields too; else rows count on.

    Raises:
        BadInput, UnknownName: as `read_benchmark`.
    """
    rows = []
    for path in _files_of(data):
        for number, row in enumerate(read_table(path, ("label",))):
            known = row.get("id", f"{path.stem}-{number}")
            rows.append({**row, "id": known, "language": row.get("language") or "und", "task": name,
                         "cluster": str(row.get("cluster", known)),
                         "label": _label(row, "label", 0, None, f"{path}, row {number + 1}")})  # fmt: skip
    return select(rows, languages, limit, f"task {name!r}")


def fingerprint(rows: Sequence[dict[str, Any]]) -> str:
    """A hash of the rows' content and order.

    Raises:
        BadInput: a row with a date, bytes or a number that is not finite.
    """
    try:
        lines = [canonical(row) for row in rows]
    except (TypeError, ValueError) as error:
        raise BadInput(
            f"a row holds what JSON cannot ({error}); give texts, finite numbers, lists"
        ) from error
    return blake2b("\n".join(lines).encode(), digest_size=16).hexdigest()


def local_files(
    benchmark: Benchmark, data: Path, languages: Sequence[str], *, all_asked: bool
) -> dict[str, list[Path]]:
    """The files of each language below `data`; languages without a file are left out unless they were asked for."""
    files = _files_of(data)
    if data.is_dir():
        split = benchmark.split.split("_")[0]
        files = _with_words(files, data, benchmark.file_words)
        files = _with_words(files, data, _SAME_SPLIT.get(split, (split,)), among=_SPLITS)
    if not files:
        raise BadInput(
            f"{data} has no file of the split {benchmark.split!r} of {benchmark.name}; name the file itself"
        )
    if len(benchmark.languages) == 1:
        return {benchmark.languages[0]: files}
    there = {
        code: [file for file in files if code in _words(file, data.parent)] for code in benchmark.languages
    }
    if not any(there.values()) and len(files) == 1:
        fields = {row.get("language") for row in read_table(files[0], ())}
        alone = set(languages) if fields == {None} and len(languages) == 1 else fields
        there = {code: files for code in benchmark.languages if code in alone}
    there = {code: paths for code, paths in there.items() if paths}
    missing = [code for code in languages if code not in there]
    if missing and (all_asked or not there):
        raise UnknownName(
            f"{data} has no rows of {benchmark.name} in {', '.join(missing)}; languages are told by the path (val.sw.jsonl) or "
            f"a field `language`, and there are: {', '.join(there) or 'none'}"
        )
    return {code: there[code] for code in languages if code in there}


def fetch(benchmark: Benchmark, language: str, revision: str | None = None) -> list[Path]:
    """The parquet files of one language from the hub's cache, else from the hub."""
    if not benchmark.hub_id:
        raise NotReachable(
            f"{benchmark.name} is not on the hub: {benchmark.by_hand}; give your copy with --data"
        )
    wanted, config = revision or benchmark.revision, benchmark.config.format(language=language)
    pattern = f"{config}/{benchmark.split}/*.parquet"
    try:
        files = _snapshot(benchmark.hub_id, wanted, pattern, offline=True)
    except LocalEntryNotFoundError:
        files = []
    return files or _download(benchmark.hub_id, wanted, pattern)


def _download(hub_id: str, revision: str, pattern: str) -> list[Path]:
    try:
        files = _snapshot(hub_id, revision, pattern, offline=False)
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise NotReachable(
            f"the hub has no data set {hub_id} at revision {revision}; name another revision"
        ) from error
    except (LocalEntryNotFoundError, HTTPError, OfflineModeIsEnabled) as error:
        raise NotReachable(
            f"{hub_id} at revision {revision} is not in the hub's cache, and the hub cannot be reached; fetch it once "
            "with a network, or give a local copy in the same schema with --data"
        ) from error
    if not files:
        raise NotReachable(f"{hub_id} at revision {revision} has no {pattern}; name another revision")
    return files


def _snapshot(hub_id: str, revision: str, pattern: str, *, offline: bool) -> list[Path]:
    folder = snapshot_download(
        hub_id, repo_type="dataset", revision=revision, allow_patterns=[pattern], local_files_only=offline
    )
    return sorted(Path(folder).glob(pattern))


def read_table(path: Path, needed: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of one file. Cells of CSV and TSV stay the texts they are: "007" is no 7, and "true" no True.

    Raises:
        BadInput: not readable as what its name says, or a field is missing.
    """
    if path.suffix == ".jsonl":
        return read_lines(path, needed)
    try:
        rows = parquet.read_table(path).to_pylist() if path.suffix == ".parquet" else _cells(path)
    except (ValueError, OSError, csv.Error) as error:  # pyarrow's own errors are ValueErrors
        raise BadInput(f"{path} cannot be read: {error}; repair it, or write JSON lines") from error
    missing = [name for name in needed if rows and name not in rows[0]]
    if missing:
        raise BadInput(f"{path} lacks the field {missing[0]!r}; needed are {', '.join(needed)}")
    return rows


def _cells(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",", strict=True))
    for number, row in enumerate(rows, start=1):
        if None in row or None in row.values():  # too many cells, or too few
            raise ValueError(f"row {number} has not as many cells as the first line")
    return rows


def _rows(benchmark: Benchmark, language: str, paths: Sequence[Path]) -> list[dict[str, Any]]:
    needed = (*benchmark.needed, benchmark.label)
    found = [(path, row) for path in paths for row in read_table(path, needed)]
    rows = [(path, row) for path, row in found if row.get("language", language) == language]
    if not rows:
        raise BadInput(f"{', '.join(map(str, paths))}: no rows of {benchmark.name} in {language!r}")
    made = []
    for number, (path, row) in enumerate(rows):
        where = f"{path}, row {number + 1}"
        for name in benchmark.needed:
            if not isinstance(row[name], str) or not row[name].strip():
                raise BadInput(f"{where} has {row[name]!r} as {name!r}; it must be a text")
        label = _label(row, benchmark.label, benchmark.first_label, benchmark.choices, where)
        # templates of others read the label as published, number or text; `label` itself counts from 0 everywhere
        made.append({**row, "id": f"{language}-{number}", "language": language, "task": benchmark.name,
                     "cluster": _cluster(benchmark, language, row, number, where), "label": label})  # fmt: skip
        published = label + benchmark.first_label
        made[-1][benchmark.label] = str(published) if benchmark.label_is_text else published
    return made


def _cluster(benchmark: Benchmark, language: str, row: dict[str, Any], number: int, where: str) -> str:
    if not benchmark.meaning:
        return f"{language}-{number}"
    place = number if benchmark.meaning == "row" else row.get(benchmark.meaning, number)
    try:
        return str(int(place) // benchmark.per_meaning)
    except (TypeError, ValueError) as error:
        raise BadInput(f"{where} has {place!r} as {benchmark.meaning!r}; give a whole number") from error


def _label(row: dict[str, Any], field: str, first: int, choices: int | None, where: str) -> int:
    value = row[field]
    number = int(value) - first if re.fullmatch(r"-?\d+", str(value)) else None
    if number is None or number < 0 or (choices is not None and number >= choices):
        allowed = f"{first} to {first + choices - 1}" if choices else "a whole number from 0"
        raise BadInput(
            f"{where} has the label {value!r} in {field!r}; allowed is {allowed} (hidden labels cannot be scored)"
        )
    return number


def _files_of(data: Path) -> list[Path]:
    if not data.exists():
        raise BadInput(f"no data at {data}; give a file or a folder of {', '.join(_KINDS)}")
    files = [data] if data.is_file() else sorted(path for path in data.rglob("*") if path.suffix in _KINDS)
    if not files or files[0].suffix not in _KINDS:
        raise BadInput(f"{data} holds no {', '.join(_KINDS)}; give a file or a folder of those")
    return files


def _with_words(files: list[Path], root: Path, words: Sequence[str], among: Sequence[str] = ()) -> list[Path]:
    """Those with one of the words in their path below `root`, if any of the files has one (of `among`); else all."""
    fitting = [file for file in files if set(words) & _words(file, root)]
    marked = [file for file in files if set(among or words) & _words(file, root)]
    return fitting if marked else files


def _words(path: Path, root: Path) -> set[str]:
    return set(re.split(r"[^A-Za-z0-9]+", str(path.relative_to(root))))
