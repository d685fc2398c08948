"""Rows of a published task, from the hub at a pinned revision or from files in the same schema; and rows of your own.

From the hub, the parquet files of one revision are downloaded into the client's cache, so that they are found offline
later. `datasets` is not used, since it would report every read and cannot distinguish a missing revision from a missing
network.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from hashlib import blake2b
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError

from workbench.downloads import Listing, NoHub, RemoteFile, Repository, download, look_up
from workbench.errors import BadInput, NotReachable
from workbench.store import canonical
from workbench.tasks.benchmarks import Benchmark
from workbench.tasks.path_languages import local_rows
from workbench.tasks.selection import select, select_each
from workbench.tasks.tables import Row, files_of, read_table, stem_of
from workbench.tasks.values import expect_count, given, whole


def read_benchmark(
    benchmark: Benchmark,
    languages: Sequence[str] | None = None,
    limit: int | None = None,
    data: Path | None = None,
    revision: str | None = None,
) -> list[dict[str, Any]]:
    """Return a published task's rows, each with id, language, cluster (its meaning) and label (0 for the first choice).

    Args:
        languages: by default all of the task's.
        limit: number of meanings per language, from the first.
        data: a file or folder in the published schema; the hub by default.
        revision: of the data set on the hub; by default the one in the table of tasks.

    Raises:
        UnknownName: a language that the task (or the folder) does not have.
        BadInput: no matching file, or a row with a missing or invalid field or label; the message names file and row.
        NotReachable: not in the hub's cache at that revision, and the hub cannot be reached.
    """
    asked = list(languages or ())
    if limit is not None:
        expect_count("limit", limit)
    for language in asked:
        benchmark.expect_language(language)
    if data is None:
        wanted = asked or benchmark.languages
        found = {code: _fetched(benchmark, code, revision) for code in wanted}
    else:
        found = local_rows(benchmark, Path(data), asked)
    made = [_rows(benchmark, language, rows) for language, rows in found.items()]
    if benchmark.meaning:
        return select([row for rows in made for row in rows], None, limit, benchmark.name)
    return select_each(
        [row for rows in made for row in rows], limit
    )  # not parallel: the first of each language


def read_any(
    name: str, data: Path, languages: Sequence[str] | None = None, limit: int | None = None
) -> list[dict[str, Any]]:
    """Return the rows of your own task from a file or folder; each needs `label` and the fields that your templates use.

    Optional fields: `language` ("und" if absent), `id` (by default the file's name and a running number) and `cluster` (by
    default the id).

    Raises:
        BadInput, UnknownName: as `read_benchmark`.
    """
    rows = [
        {**own, "task": name, "label": _label(row, "label", 0, None)} for row, own in _own_rows(data, "label")
    ]
    return select(rows, languages, limit, f"task {name!r}")


def read_any_texts(
    data: Path, languages: Sequence[str] | None = None, limit: int | None = None
) -> list[dict[str, Any]]:
    """Return your own texts from a file or folder; each row needs `text`, and other fields are attributes. Optional: as `read_any`.

    Raises:
        BadInput, UnknownName: as `read_benchmark`.
    """
    rows = []
    for row, own in _own_rows(data, "text"):
        if not isinstance(own["text"], str) or not own["text"].strip():
            raise BadInput(f"{row.where} has {own['text']!r} as 'text'; it must be a text")
        rows.append(own)
    return select(rows, languages, limit, str(data))


def _own_rows(data: Path, needed: str) -> list[tuple[Row, dict[str, Any]]]:
    """Return each row of a file or folder, and its fields with id, language and cluster."""
    rows = []
    for path in files_of(Path(data)):
        for number, row in enumerate(read_table(path, (needed,))):
            known = given(row.fields, "id", f"{stem_of(path)}-{number}")
            language = given(row.fields, "language", "und")
            if not isinstance(language, str):
                raise BadInput(
                    f"{row.where} has {language!r} as 'language'; give a code as text, such as 'sw'"
                )
            cluster = str(given(row.fields, "cluster", known))
            rows.append((row, {**row.fields, "id": known, "language": language, "cluster": cluster}))
    if not rows:
        raise BadInput(f"{data} holds no row; give a file that has some")
    return rows


def fingerprint(rows: Sequence[dict[str, Any]]) -> str:
    """Return a hash of the rows' content and order.

    Raises:
        BadInput: a value that JSON cannot represent: a date, bytes, or a number that is not finite.
    """
    digest = blake2b(digest_size=16)
    for number, row in enumerate(rows):
        try:
            digest.update(("\n" * (number > 0) + canonical(row)).encode())
        except (TypeError, ValueError, RecursionError) as error:
            raise BadInput(
                f"row {row.get('id', number)!r} holds what JSON cannot ({error}); give texts, finite numbers, lists"
            ) from error
    return digest.hexdigest()


def fetch(benchmark: Benchmark, language: str, revision: str | None = None) -> list[Path]:
    """Return the files of one language from the hub's cache, or else download them.

    Raises:
        NotReachable: as `read_benchmark`, or the data set is not on the hub.
    """
    repository = repository_of(benchmark, revision)
    pattern = benchmark.pattern(language)
    if found := cached(repository, pattern):
        return found
    with remedied(benchmark, repository):
        listing = look_up(repository)
        folder = download(listing, files_to_read(benchmark, listing, language))
    return sorted(folder.glob(pattern))


@contextmanager
def remedied(benchmark: Benchmark, repository: Repository) -> Iterator[None]:
    """Say what to do where the data are not here and the hub cannot be reached.

    Raises:
        NotReachable: it cannot.
    """
    try:
        yield
    except NoHub as error:
        raise NotReachable(
            f"{repository.id} at revision {repository.revision} is not in the hub's cache, and the hub cannot be reached; with a "
            f"network, `workbench fetch {benchmark.name}` fetches it, or copy {repository.root.name} from another machine's cache of "
            f"the hub to {repository.root.parent}, or give a local copy in the same schema with --data"
        ) from error


def repository_of(benchmark: Benchmark, revision: str | None = None) -> Repository:
    """Return the data set of a task on the hub.

    Raises:
        NotReachable: it is not on the hub.
    """
    if not benchmark.hub_id:
        raise NotReachable(
            f"{benchmark.name} is not on the hub: {benchmark.by_hand}; give your copy with --data"
        )
    return Repository(benchmark.hub_id, "dataset", revision or benchmark.revision)


def files_to_read(benchmark: Benchmark, listing: Listing, language: str) -> list[RemoteFile]:
    """Return the files of a listing that hold a language's rows.

    Raises:
        NotReachable: there are none.
    """
    pattern = benchmark.pattern(language)
    found = [file for file in listing.files if fnmatchcase(file.name, pattern)]
    if not found:
        repository = listing.repository
        raise NotReachable(
            f"{repository.id} at revision {repository.revision} has no {pattern}; name another revision"
        )
    return found


def files_of_languages(benchmark: Benchmark, listing: Listing, languages: Sequence[str]) -> list[RemoteFile]:
    """Return the files of a listing that hold the rows of languages; each once, since languages may share files."""
    found = {file.name: file for one in languages for file in files_to_read(benchmark, listing, one)}
    return list(found.values())


def cached(repository: Repository, pattern: str) -> list[Path]:
    """Return the files in the hub's cache that match a pattern; none if the client knows that one of them is missing."""
    try:
        folder = snapshot_download(
            repository.id,
            repo_type=repository.kind,
            revision=repository.revision,
            allow_patterns=[pattern],
            local_files_only=True,
        )
    except LocalEntryNotFoundError:
        return []
    return sorted(Path(folder).glob(pattern))


def _fetched(benchmark: Benchmark, language: str, revision: str | None) -> list[Row]:
    rows = [row for path in fetch(benchmark, language, revision) for row in read_table(path, ())]
    return [row for row in rows if given(row.fields, "language", language) == language]


def _rows(benchmark: Benchmark, language: str, rows: Sequence[Row]) -> list[dict[str, Any]]:
    if not rows:
        raise BadInput(f"there are no rows of {benchmark.name} in {language!r}; name other languages or data")
    made = []
    for number, row in enumerate(rows):
        for name in (*benchmark.needed, benchmark.label):
            if name not in row.fields:
                needed = ", ".join((*benchmark.needed, benchmark.label))
                raise BadInput(f"{row.where} lacks the field {name!r}; needed are {needed}")
        for name in benchmark.needed:
            if not isinstance(row.fields[name], str) or not row.fields[name].strip():
                raise BadInput(f"{row.where} has {row.fields[name]!r} as {name!r}; it must be a text")
        label = _label(row, benchmark.label, benchmark.first_label, benchmark.choices)
        # third-party templates read the label as published, number or text; `label` itself always counts from 0
        made.append({**row.fields, "id": f"{language}-{number}", "language": language, "task": benchmark.name,
                     "cluster": _cluster(benchmark, language, row, number), "label": label})  # fmt: skip
        published = label + benchmark.first_label
        made[-1][benchmark.label] = str(published) if benchmark.label_is_text else published
    return made


def _cluster(benchmark: Benchmark, language: str, row: Row, number: int) -> str:
    if not benchmark.meaning:
        return f"{language}-{number}"
    place = number if benchmark.meaning == "row" else row.fields.get(benchmark.meaning, number)
    meaning = whole(place)
    if meaning is None:
        raise BadInput(f"{row.where} has {place!r} as {benchmark.meaning!r}; give a whole number")
    return str(meaning // benchmark.per_meaning)


def _label(row: Row, field: str, first: int, choices: int | None) -> int:
    value = row.fields[field]
    number = whole(value)
    label = -1 if number is None else number - first
    if label < 0 or (choices is not None and label >= choices):
        allowed = f"{first} to {first + choices - 1}" if choices else "a whole number from 0"
        raise BadInput(
            f"{row.where} has the label {value!r} in {field!r}; allowed is {allowed} (hidden labels cannot be scored)"
        )
    return label
