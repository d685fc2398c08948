"""The language of a row in a local file: its field `language`, or else a code at a known position in the file's path.

Known positions, below the given folder: a folder's whole name (`sw/validation.parquet`), a dot-separated part of the file's
name (`val.sw.jsonl`), or the end of such a part after `_` or `-` (`validation_sw.jsonl`). Other words in a path are not
taken as codes: `my_stories` is not Burmese, nor `by_id` Indonesian.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from workbench.errors import BadInput, UnknownName
from workbench.tasks.benchmarks import Benchmark
from workbench.tasks.tables import Row, files_of, read_table, stem_of
from workbench.tasks.values import given

_SPLITS = ("train", "validation", "val", "dev", "test")
_NAMED = 20  # languages in a message
_SAME_SPLIT = {"validation": ("validation", "val", "dev"), "test": ("test",)}


def local_rows(benchmark: Benchmark, data: Path, asked: Sequence[str]) -> dict[str, list[Row]]:
    """Return the rows of each language in a file or folder; without requested languages, those of all languages present.

    Raises:
        UnknownName: no rows in a requested language, or in any; the message lists the languages present.
        BadInput: no file of the split, or a path that names two languages.
    """
    found = _by_language(benchmark, _of_split(benchmark, data), data, asked)
    there = [code for code in benchmark.languages if code in found]
    missing = [code for code in asked or ([] if there else benchmark.languages) if code not in there]
    if missing:
        named = ", ".join(missing) if len(missing) <= _NAMED else f"any of its {len(missing)} languages"
        raise UnknownName(
            f"{data} has no rows of {benchmark.name} in {named}; a language is a field `language`, a folder (sw/…) "
            f"or a part of the file's name (val.sw.jsonl, val_sw.jsonl), and there are: {', '.join(map(str, found)) or 'none'}"
        )
    return {code: found[code] for code in asked or there}


def path_languages(path: Path, root: Path, codes: Sequence[str]) -> list[str]:
    """Return the codes at known positions of a path below `root` (in the file's name if the path is the root)."""
    below = path.relative_to(root).parts[:-1] if path != root else ()
    parts = stem_of(path).split(".")
    ends = [re.split(r"[-_]", part)[-1] for part in parts]
    return [code for code in codes if code in {*below, *parts, *ends}]


def _by_language(
    benchmark: Benchmark, files: Sequence[Path], data: Path, asked: Sequence[str]
) -> dict[str, list[Row]]:
    theirs = {code: code for code in benchmark.languages}
    theirs |= {benchmark.codes.get(code, code): code for code in benchmark.languages}
    if "{language}" in benchmark.config:
        theirs |= {benchmark.configuration(code): code for code in benchmark.languages}
    marks = {
        file: list(dict.fromkeys(theirs.get(code, code) for code in path_languages(file, data, list(theirs))))
        for file in files
    }
    # a single language needs no code in the path
    alone = benchmark.languages if len(benchmark.languages) == 1 else asked
    if any(marks.values()) and len(benchmark.languages) > 1:
        marks = {file: codes for file, codes in marks.items() if codes}  # ignore other files in the folder
    found: dict[str, list[Row]] = {}
    for file, marked in marks.items():
        for row in read_table(file, ()):
            named = marked or (alone if len(alone) == 1 else ())
            language = given(row.fields, "language", None)
            if language is None and len(named) > 1:
                raise BadInput(
                    f"{file} names {len(named)} languages: {', '.join(named)}; give its rows a field `language`, or rename it"
                )
            language = language if language is not None else next(iter(named), None)
            if language is not None:
                found.setdefault(theirs.get(str(language), str(language)), []).append(row)
    return found


def _of_split(benchmark: Benchmark, data: Path) -> list[Path]:
    files = files_of(data)
    if data.is_dir():
        split = benchmark.split.split("_")[0]
        files = _with_words(files, data, benchmark.file_words)
        files = _with_words(files, data, _SAME_SPLIT.get(split, (split,)), among=_SPLITS)
    if not files:
        raise BadInput(
            f"{data} has no file of the split {benchmark.split!r} of {benchmark.name}; name the file itself"
        )
    return files


def _with_words(files: list[Path], root: Path, words: Sequence[str], among: Sequence[str] = ()) -> list[Path]:
    """Return the files with one of `words` in their path below `root`; all, if none has a word of `among` (default: `words`)."""
    fitting = [file for file in files if set(words) & _words(file, root)]
    marked = [file for file in files if set(among or words) & _words(file, root)]
    return fitting if marked else files


def _words(path: Path, root: Path) -> set[str]:
    return set(re.split(r"[^A-Za-z0-9]+", str(path.relative_to(root))))
