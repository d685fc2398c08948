"""What a run needs, downloaded before it: checkpoints, data of tasks, the published prompts; and a log of what arrived."""

import json
import platform
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from huggingface_hub import constants
from platformdirs import user_cache_path

from workbench import family
from workbench.downloads import Listing, NoConnection, RemoteFile, download, look_up
from workbench.downloads.github import Checkout, arrived, fetch_checkout
from workbench.errors import BadInput, NotReachable, StoreFailed, UnknownName, WorkbenchError
from workbench.models import hub
from workbench.models.places import Place, locate
from workbench.tasks import Benchmark, benchmarks, contamination, offline_tasks, read_benchmark
from workbench.tasks import rows as task_rows

Kind = Literal["checkpoint", "data", "prompts"]
PROMPTSOURCE = "promptsource"
# the English tasks are on the first, the crosslingual ones and the translated prompts on the second
CHECKOUTS = {
    "main": Checkout("bigscience-workshop/promptsource", "main"),
    "xp3mt": Checkout("Muennighoff/promptsource", "xp3mt"),
}
_LICENCE = "the prompts of promptsource are under Apache-2.0 (LICENSE beside them)"
_UNREACHED = "the hub cannot be reached; everything is here already"


@dataclass(frozen=True)
class FetchedFile:
    """A file that a run needs: name, size in bytes, digest, and whether it was here before."""

    name: str
    size: int
    digest: str
    was_here: bool


@dataclass(frozen=True)
class Fetched:
    """What a name stood for and what arrived of it; in a dry run, what would.

    `origin` is a hub id or an address, `commit` the revision that was found there, `folder` the place on this machine. `rows`
    counts the rows that were read from data, by language. `notes` are sentences on licence and state.
    """

    name: str
    kind: Kind
    origin: str
    revision: str
    commit: str
    folder: str
    files: tuple[FetchedFile, ...] = ()
    rows: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def new(self) -> int:
        """Bytes of the files that were not here before."""
        return sum(file.size for file in self.files if not file.was_here)


def fetch(
    name: str, *, languages: Sequence[str] | None = None, revision: str | None = None, dry_run: bool = False
) -> list[Fetched]:
    """Download what a name stands for; what is here is not downloaded again, and an interrupted file is continued.

    Args:
        name: A checkpoint (short name or hub id), a task of `data/benchmarks.toml`, or "promptsource" for its two branches.
        languages: Of a task; by default all.
        revision: Of the checkpoint or data set on the hub.
        dry_run: Look up what would be downloaded, and stop.

    Raises:
        UnknownName: none of these.
        NotReachable: the hub or GitHub cannot be reached or refuses; the message says what to copy where.
        BadInput: weights only in .bin files, or rows that do not match the schema in the table of tasks.
        StoreFailed: the files could not be written.
    """
    if name == PROMPTSOURCE:
        return [_prompts(branch, checkout, dry_run) for branch, checkout in CHECKOUTS.items()]
    if name in benchmarks():
        return [_data(benchmarks()[name], languages, revision, dry_run)]
    if name in offline_tasks():
        return [Fetched(name, "data", "", "", "", "", notes=("ships with the package or its dependencies",))]
    try:
        place = locate(name, revision)
    except UnknownName as error:
        raise UnknownName(
            f"{error}; tasks are: {', '.join(benchmarks())}; prompts: {PROMPTSOURCE}"
        ) from error
    return [_checkpoint(name, place, dry_run)]


def prompts_folder(branch: str) -> Path:
    """Return where a branch of promptsource is on this machine, once it was fetched."""
    return user_cache_path("workbench") / PROMPTSOURCE / branch


def log_path() -> Path:
    """Return the file to which the log goes by default."""
    return user_cache_path("workbench") / "fetch.jsonl"


def log(
    path: Path, name: str, seconds: float, found: Iterable[Fetched], error: WorkbenchError | None = None
) -> None:
    """Append a line of JSON to the log: what was asked, what arrived or why it did not, and the versions; no local paths, no tokens.

    Raises:
        StoreFailed: the log cannot be written.
    """
    record = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "asked": name,
        "endpoint": constants.ENDPOINT,
        "seconds": round(seconds, 2),
        "versions": {each: version(each) for each in ("workbench", "huggingface_hub", "datasets")},
        "platform": f"Python {platform.python_version()}, {platform.system()} {platform.machine()}",
        "fetched": [{k: v for k, v in asdict(one).items() if k != "folder"} for one in found],
        "error": None if error is None else _without_paths(str(error)),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    except OSError as failure:
        raise StoreFailed(
            f"the log {path} cannot be written: {failure}; name another with --log"
        ) from failure


def fetch_logged(name: str, path: Path, **options: Any) -> list[Fetched]:
    """Fetch as `fetch`, and append a line to the log whether or not it succeeds; a name that stands for nothing is not logged."""
    start = time.monotonic()
    try:
        found = fetch(name, **options)
    except (NotReachable, BadInput, StoreFailed) as error:
        log(path, name, time.monotonic() - start, (), error)
        raise
    log(path, name, time.monotonic() - start, found)
    return found


def _without_paths(text: str) -> str:
    for path, name in (
        (constants.HF_HUB_CACHE, "$HF_HUB_CACHE"),
        (str(user_cache_path("workbench")), "$CACHE"),
        (str(Path.home()), "~"),
    ):
        text = text.replace(path, name)
    return text


def _checkpoint(name: str, place: Place, dry_run: bool) -> Fetched:
    if place.hub_id is None:
        return Fetched(name, "checkpoint", "", "", "", str(place.local), notes=("is on this machine",))
    notes = _licence(place.hub_id)
    repository = hub.repository_of(place.hub_id, place.revision)
    try:
        with hub.remedied(name, place.hub_id, place.revision):
            listing = look_up(repository)
            return _transferred(name, "checkpoint", listing, hub.files_to_load(name, listing), dry_run, notes)
    except NotReachable as error:
        if not isinstance(error.__cause__, NoConnection) or place.folder is None:
            raise
        there = place.folder
        return Fetched(
            name,
            "checkpoint",
            repository.id,
            repository.revision,
            there.name,
            str(there),
            notes=(*notes, _UNREACHED),
        )


def _licence(hub_id: str) -> tuple[str, ...]:
    known = [one for each in family.families() for one in each.checkpoints if one.hub_id == hub_id]
    return tuple(f"licence {one.licence}" for one in known[:1])


def _data(
    benchmark: Benchmark, languages: Sequence[str] | None, revision: str | None, dry_run: bool
) -> Fetched:
    repository = task_rows.repository_of(benchmark, revision)
    asked = benchmark.read(languages or ())
    flagged = contamination(benchmark.name, benchmark.hub_id)
    notes = (f"contaminated: {flagged}",) if flagged else ()
    try:
        with task_rows.remedied(benchmark, repository):
            listing = look_up(repository)
            files = task_rows.files_of_languages(benchmark, listing, asked)
            found = _transferred(benchmark.name, "data", listing, files, dry_run, notes)
    except NotReachable as error:
        here = [task_rows.cached(repository, benchmark.pattern(one)) for one in asked]
        if not isinstance(error.__cause__, NoConnection) or not all(here):
            raise
        folder = here[0][0].relative_to(repository.root).parts[1]
        found = Fetched(
            benchmark.name,
            "data",
            repository.id,
            repository.revision,
            folder,
            str(repository.root),
            notes=(*notes, _UNREACHED),
        )
    if dry_run:
        return found
    rows = Counter(row["language"] for row in read_benchmark(benchmark, languages, revision=revision))
    return Fetched(**{**vars(found), "rows": dict(rows)})


def _prompts(branch: str, checkout: Checkout, dry_run: bool) -> Fetched:
    folder = prompts_folder(branch)
    known, is_new = arrived(folder), False
    notes = [_LICENCE]
    try:
        if not dry_run:
            known, is_new = fetch_checkout(checkout, folder, _is_prompt)
    except NoConnection as error:
        if known is None:
            raise NotReachable(
                f"{error}; on a machine with a network run `workbench fetch {PROMPTSOURCE}` and copy {folder} here, or clone "
                f"{checkout.repository}, branch {checkout.branch}, and name the clone with --templates"
            ) from error
        notes.append("GitHub cannot be reached; an earlier download is here")
    content = [] if known is None else [
        FetchedFile(f"{known.files} files", known.bytes, f"sha256:{known.sha256}", not is_new)
    ]  # fmt: skip
    return Fetched(
        f"{PROMPTSOURCE}/{branch}", "prompts", checkout.url, checkout.branch, known.commit if known else "", str(folder),
        tuple(content), notes=tuple(notes),
    )  # fmt: skip


def _is_prompt(name: str) -> bool:
    return name == "LICENSE" or (
        name.startswith("promptsource/templates/") and name.endswith("/templates.yaml")
    )


def _transferred(
    name: str, kind: Kind, listing: Listing, files: Sequence[RemoteFile], dry_run: bool, notes: Sequence[str]
) -> Fetched:
    """Download files unless it is a dry run, and say which of them are new."""
    found = tuple(FetchedFile(one.name, one.size, one.digest, listing.is_here(one)) for one in files)
    if not dry_run:
        download(listing, files)
    repository = listing.repository
    return Fetched(
        name,
        kind,
        repository.id,
        repository.revision,
        listing.commit,
        str(listing.snapshot),
        found,
        notes=tuple(notes),
    )
