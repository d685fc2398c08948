"""Reads a task or texts from any source: data of a family, the published tasks, words of CLDR, or files of your own."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from workbench.errors import BadInput, UnknownName
from workbench.family import Family, families
from workbench.paths import expanded
from workbench.prompts import Template, read_templates
from workbench.tasks import cldr, lexicon, parallel
from workbench.tasks.benchmarks import Benchmark, benchmarks, contamination
from workbench.tasks.data import Data
from workbench.tasks.defaults import fitting
from workbench.tasks.local import english_of, offline_tasks, read_rows, read_sentences, task_templates, tasks
from workbench.tasks.rows import read_any, read_any_texts, read_benchmark, read_benchmark_texts
from workbench.tasks.selection import select_each, shared_meanings

_PUBLISHED = "published"
_TEXTS: Mapping[str, Callable[..., list[dict[str, Any]]]] = MappingProxyType(
    {"lexicon": lexicon.texts, "parallel": parallel.texts}
)


@dataclass(frozen=True)
class _Place:
    """Where a task is: under the name of a source, on the hub as its benchmark says, or in files."""

    task: str
    source: str
    benchmark: Benchmark | None = None
    path: Path | None = None

    def draw(self, seed: int) -> int | None:
        """Return the seed with which meanings are drawn; none where the order of the rows is drawn, or balanced, already."""
        return seed if self.benchmark is not None or self.path is not None else None


def sources() -> dict[str, tuple[str, ...]]:
    """Return the named sources with their tasks."""
    of_families = {name: tuple(filter(one.has_task, tasks())) for name, one in _with_data().items()}
    ours = {name: tuple(task for task in offline_tasks() if task.startswith(f"{name}/")) for name in _TEXTS}
    return {**of_families, **ours, _PUBLISHED: tuple(benchmarks())}


def read_data(
    task: str,
    source: str | Path | None = None,
    *,
    languages: Sequence[str] | None = None,
    limit: int | None = None,
    templates: str | Path | None = None,
    revision: str | None = None,
    seed: int = 0,
    shared: bool = False,
) -> Data:
    """Return a task's rows and wordings.

    Args:
        source: One of `sources()`; a file or folder of rows; the hub id of a published task; or a TOML file that describes
            tasks on the hub as `data/benchmarks.toml` does. By default the named source that has the task.
        languages: By default all.
        limit: Meanings, per language where languages have different ones. Those of published tasks and of your own rows are
            drawn; the others ship in an order in which the first ones are like the rest.
        templates: A TOML file of wordings, needed for rows of your own; by default ours.
        revision: Of the data set on the hub; by default the one in the table of tasks.
        seed: Of the draw, and of the lexicon's choices and its order.
        shared: Take meanings that all languages have; where they share none, those of each language.

    Raises:
        UnknownName: no such source, task or language; the message lists the available ones.
        BadInput: rows or wordings that cannot be read, or a limit that is not an integer above 0.
        NotReachable: a data set that is neither in the hub's cache nor reachable.
    """
    place = _locate(task, str(source) if source is not None else _source_of(task))
    rows = _rows(place, languages, None if shared else limit, revision, seed, shared)
    if shared:
        rows = shared_meanings(rows, limit, place.draw(seed)) or select_each(rows, limit, place.draw(seed))
    benchmark = place.benchmark
    if benchmark is not None and benchmark.order and templates is None:
        rows = [{**row, "label": benchmark.order[row["label"]]} for row in rows]
    return Data(
        task=place.task,
        source=_named(place, revision),
        rows=tuple(rows),
        templates=tuple(_wordings(place, templates)),
        english=english_of(place.task),
        contaminated=_contaminated(place),
        untested=benchmark is not None and place.path is None,
        kind=benchmark.kind if benchmark is not None else "rank",
    )


def read_texts(
    source: str | Path,
    *,
    task: str = "",
    languages: Sequence[str] | None = None,
    limit: int | None = None,
    revision: str | None = None,
    seed: int = 0,
    shared: bool = False,
) -> Data:
    """Return annotated texts for probes and retrieval: rows with id, cluster (the meaning), language, text and attributes.

    Args:
        source: A named source that has texts, or a file or folder of rows with a field `text`; as for `read_data` if a published
            task is named.
        task: The published task whose rows are read as texts.
        limit, revision, seed: As for `read_data`.
        shared: Take meanings that all languages have.

    Raises:
        UnknownName, BadInput, NotReachable: as `read_data`; or a source or task without texts.
    """
    name = str(source)
    family = _with_data().get(name)
    of_tasks = () if family or name in _TEXTS else fitting(name).tasks
    place = _place_of_texts(name, task or next(iter(of_tasks), ""))
    wanted, limit = limit, None if shared else limit
    if name in _TEXTS:
        rows = _TEXTS[name](languages, limit)
    elif family is not None:
        rows = read_sentences(languages, limit, family=family)
    elif place.benchmark is not None:
        rows = read_benchmark_texts(place.benchmark, languages, limit, place.path, revision, seed=seed)
    else:
        rows = read_any_texts(_existing(name), languages, limit, seed=seed)
    if shared:
        rows = shared_meanings(rows, wanted, place.draw(seed))
    return Data(
        place.task,
        _named(place, revision),
        tuple(rows),
        contaminated=_contaminated(place),
        untested=place.benchmark is not None and place.path is None,
        attribute=place.benchmark.attribute if place.benchmark else fitting(name).attribute,
    )


def _place_of_texts(source: str, task: str) -> _Place:
    """Find a published task whose rows are read as texts, or a source of texts."""
    if not task:
        return _Place("texts", source, path=None if source in sources() else _existing(source))
    place = _locate(task, source)
    if place.benchmark is None:
        raise BadInput(
            f"texts of {source} are not those of a task; drop {task!r}, or name a published task: {', '.join(benchmarks())}"
        )
    return place


def _locate(task: str, source: str) -> _Place:
    """Find a task in a source.

    Raises:
        UnknownName: no such source, or a source without this task.
    """
    known = sources()
    if source in known and source != _PUBLISHED:
        full = task if task in known[source] else f"{source}/{task}"
        return _Place(_expected(full if full in known[source] else task, known[source], source), source)
    if source == _PUBLISHED:
        return _Place(task, source, benchmarks()[_expected(task, known[source], source)])
    if source.endswith(".toml") and (table := expanded(source)).is_file():
        described = benchmarks(table)
        return _Place(task, source, described[_expected(task, described, source)])
    of_hub = {name: one for name, one in benchmarks().items() if one.hub_id == source}
    if of_hub:
        return _Place(task, source, of_hub[_expected(task, of_hub, source)])
    return _Place(task, source, benchmarks().get(task), _existing(source))


def _rows(
    place: _Place,
    languages: Sequence[str] | None,
    limit: int | None,
    revision: str | None,
    seed: int,
    shared: bool,
) -> list[dict[str, Any]]:
    if place.benchmark is not None:
        return read_benchmark(place.benchmark, languages, limit, place.path, revision, seed=seed)
    if revision is not None:
        raise BadInput(f"{place.task!r} does not come from the hub; drop the revision {revision!r}")
    if place.path is not None:
        return read_any(place.task, place.path, languages, limit, seed=seed)
    return read_rows(place.task, languages, limit, seed=seed, shared=shared)


def _contaminated(place: _Place) -> str:
    of_hub = place.benchmark.hub_id if place.benchmark else ""
    return contamination(place.task, of_hub, place.path.stem if place.path else "")


def _wordings(place: _Place, templates: str | Path | None) -> list[Template]:
    if templates is not None:
        return read_templates(expanded(templates), foreign=True)
    if place.benchmark is not None:
        return read_templates(place.benchmark.wordings_path) if place.benchmark.wordings else []
    if place.path is not None:
        raise BadInput(
            f"{place.task!r} from {place.path} has no wordings; name a TOML file of them (templates)"
        )
    return task_templates(place.task)


def _named(place: _Place, revision: str | None) -> str:
    """Return the origin of data for a record: with the versions on which they depend."""
    if place.path is not None:
        return f"files {place.path.name}"
    if place.benchmark is not None:
        return f"{place.benchmark.hub_id}@{revision or place.benchmark.revision}"
    return cldr.origin() if place.source == "lexicon" else f"{place.source}, ships with the package"


def _source_of(task: str) -> str:
    found = next((name for name, its in sources().items() if task in its), None)
    if found is None:
        there = "; ".join(f"{name}: {', '.join(its)}" for name, its in sources().items())
        raise UnknownName(f"no task called {task!r}; {there}; or name a file or folder as source")
    return found


def _expected(task: str, among: Iterable[str], source: str) -> str:
    if task not in (known := list(among)):
        raise UnknownName(f"{source} has no task {task!r}; it has: {', '.join(known)}")
    return task


def _existing(source: str) -> Path:
    path = expanded(source)
    if not path.exists():
        raise UnknownName(
            f"no source {source!r}; choose one of: {', '.join(sources())}; or name a file or folder, the hub id of a published "
            "task, or a TOML file that describes a data set on the hub as data/benchmarks.toml does"
        )
    return path


def _with_data() -> dict[str, Family]:
    return {one.source or one.name: one for one in families() if one.data is not None}
