"""Rows of a published task, from the hub at a pinned revision or from files in the same schema; and rows of your own.

From the hub, the parquet files of one revision are downloaded into the client's cache, so that they are found offline
later. `datasets` is not used, since it would report every read and cannot distinguish a missing revision from a missing
network.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from hashlib import blake2b
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError

from workbench.downloads import Listing, NoConnection, RemoteFile, Repository, download, look_up
from workbench.errors import BadInput, NotReachable
from workbench.store import canonical
from workbench.tasks.benchmarks import Benchmark, benchmarks
from workbench.tasks.kinds import label_of, task_rows, translated
from workbench.tasks.path_languages import local_rows
from workbench.tasks.selection import select, select_each
from workbench.tasks.tables import Row, files_of, read_table, stem_of
from workbench.tasks.values import expect_count, given


def read_benchmark(
    benchmark: Benchmark,
    languages: Sequence[str] | None = None,
    limit: int | None = None,
    data: Path | None = None,
    revision: str | None = None,
    *,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return a task's rows, each with id, language, cluster (its meaning) and, if it is ranked, label (0 for the first choice).

    Those of other kinds have `texts`, `accepted` or `source` and `target` instead (`kinds.task_rows`).

    Args:
        languages: by default all of the task's.
        limit: number of meanings per language, drawn.
        data: a file or folder in the published schema; the hub by default.
        revision: of the data set on the hub; by default the one in the table of tasks.
        seed: of the draw; a larger limit contains the meanings of a smaller one.

    Raises:
        UnknownName: a language that the task (or the folder) does not have.
        BadInput: no matching file, or a row with a missing or invalid field or label; the message names file and row.
        NotReachable: not in the hub's cache at that revision, and the hub cannot be reached.
    """
    asked = list(languages or ())
    if limit is not None:
        expect_count("limit", limit)
    wanted = benchmark.read(asked)  # refuses a language that it does not have
    if data is None:
        found = {code: _fetched(benchmark, code, revision) for code in wanted}
    else:
        found = local_rows(benchmark, Path(data), wanted if asked else ())
    made = [row for language, rows in found.items() for row in task_rows(benchmark, language, rows)]
    if benchmark.kind == "translation":
        made = translated(benchmark, made)
    if benchmark.meaning:
        return select(made, None, limit, benchmark.name, seed)
    return select_each(made, limit, seed)  # not parallel: a draw for each language


def read_any(
    name: str,
    data: Path,
    languages: Sequence[str] | None = None,
    limit: int | None = None,
    *,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return the rows of your own task from a file or folder; each needs `label` and the fields that your templates use.

    Optional fields: `language` ("und" if absent), `id` (by default the file's name and a running number) and `cluster` (by
    default the id). A limit is as in `read_benchmark`.

    Raises:
        BadInput, UnknownName: as `read_benchmark`.
    """
    rows = [{**own, "task": name, "label": label_of(row, "label")} for row, own in _own_rows(data, "label")]
    return select(rows, languages, limit, f"task {name!r}", seed)


def read_any_texts(
    data: Path, languages: Sequence[str] | None = None, limit: int | None = None, *, seed: int = 0
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
    return select(rows, languages, limit, str(data), seed)


def read_benchmark_texts(
    benchmark: Benchmark,
    languages: Sequence[str] | None = None,
    limit: int | None = None,
    data: Path | None = None,
    revision: str | None = None,
    *,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return the rows of `read_benchmark` as texts, of the fields `texts` of the task, each a meaning of its own.

    If the task has `endings`, one of them ends the text, and the attribute `plausibility` ("yes", "no") says whether it is the right
    one; which one is shown does not depend on that.

    Raises:
        BadInput: the task has no texts to read; otherwise as `read_benchmark`.
    """
    if not benchmark.texts:
        able = ", ".join(one.name for one in benchmarks().values() if one.texts)
        raise BadInput(
            f"{benchmark.name} has no texts for probes; name a task that has some ({able}), or a file of texts"
        )
    made, count = [], Counter[tuple[str, str]]()
    for row in read_benchmark(benchmark, languages, limit, data, revision, seed=seed):
        place = (row["language"], row["cluster"])
        meaning = row["cluster"] if benchmark.per_meaning == 1 else f"{row['cluster']}-{count[place]}"
        count[place] += 1
        made.append({**_text(benchmark, row), "cluster": meaning})
    return made


def _text(benchmark: Benchmark, row: dict[str, Any]) -> dict[str, Any]:
    fields = [*benchmark.texts]
    if benchmark.endings:
        shown = int(row["cluster"]) % len(benchmark.endings)
        fields.append(benchmark.endings[shown])
        right = {"plausibility": "yes" if shown == row["label"] else "no"}
        row = {name: value for name, value in row.items() if name not in ("label", benchmark.label)} | right
    return {**row, "text": " ".join(row[name] for name in fields)}


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
    except NoConnection as error:
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
    own = (language, benchmark.codes.get(language))
    return [row for row in rows if given(row.fields, "language", language) in own]
