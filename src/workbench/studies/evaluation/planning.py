"""The plan of an evaluation: the items of a task, and where their data and templates come from.

There are three kinds of task: those that ship with a family, the published ones (from the hub or from files), and rows of
your own with your own templates.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from workbench.errors import BadInput, NotReachable, UnknownName
from workbench.family import Badge, data_badge, families
from workbench.paths import expanded
from workbench.prompts import Template
from workbench.studies.evaluation.lengths import lengths_that_tell
from workbench.studies.evaluation.templates import find_templates, provenance
from workbench.tasks import (
    Asked,
    Benchmark,
    Item,
    Kind,
    ask_with_shots,
    benchmarks,
    contamination,
    fingerprint,
    lexicon,
    offline_tasks,
    pair_items,
    read_any,
    read_benchmark,
    read_rows,
)
from workbench.tasks.cldr import origin


@dataclass(frozen=True)
class EvaluationPlan:
    """The items to be asked and their origin.

    `wordings` are "published" (the five published prompts from promptsource), "ours", or "given". `contaminated` says why
    scores on these data are not informative for finetuned models; empty if nothing is known. `untested` is set for paths on
    the hub that have not been tried. `skipped` is the number of rows for which a template renders nothing, by template.
    `accepted` holds the right texts by meaning and language, if answers are generated.
    """

    task: str
    benchmark: Benchmark | None
    source: str
    badge: Badge  # of the data
    data_digest: str
    contaminated: str
    untested: bool
    prompt_language: str
    wordings: str
    shots: int
    templates: tuple[Template, ...]
    items: tuple[Item, ...]
    skipped: Mapping[str, int] = field(default_factory=dict)
    accepted: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        """How the items are asked: ranked, scored in pairs, or generated."""
        return self.benchmark.kind if self.benchmark is not None else "rank"

    @property
    def is_generated(self) -> bool:
        """Whether models write the answers."""
        return self.benchmark is not None and self.benchmark.is_generated

    @property
    def measure(self) -> str:
        """What is averaged: the accuracy of choices, the share of answers that match a right one, or the translations' chrF."""
        return {"answers": "match", "translation": "chrF"}.get(self.kind, "accuracy")

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages of the items, in order."""
        return tuple(dict.fromkeys(item.language for item in self.items))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of the results should know about the data, in sentences."""
        found = [
            f"template {name!r} renders nothing for {count} rows, which are skipped"
            for name, count in self.skipped.items()
        ]
        for code, (share, chance) in lengths_that_tell(self.items).items():
            found.append(
                f"in {code} the shortest choice is right in {share:.0%} (chance: {chance:.0%}): a preference for short answers is not at chance there"
            )
        if self.contaminated:
            found.append(f"contaminated: {self.contaminated}; scores of models finetuned on it mean little")
        if self.untested:
            found.append(
                f"{self.source}: this path on the hub has not been tried yet; check the rows, or give a local copy (data)"
            )
        return tuple(found)


def make_plan(
    task: str,
    languages: Sequence[str] | None = None,
    *,
    prompt_language: str = "en",
    templates: Path | str | None = None,
    names: Sequence[str] | None = None,
    data: Path | str | None = None,
    revision: str | None = None,
    limit: int | None = None,
    shots: int = 0,
    shots_language: str | None = None,
    seed: int = 0,
) -> EvaluationPlan:
    """Read data and templates and make the items.

    Args:
        task: One that ships with a family, a published one, or, with `data` and `templates`, any name.
        prompt_language: "en" English templates for all data; "native" ours in the data's language; "mt" and
            "ht" promptsource's translated ones.
        templates: A checkout of promptsource (or a folder of its files), or a TOML file like ours.
        names: Names of templates; by default the published five, or all of ours.
        data: A file or folder; by default what ships, or the hub.
        limit: Item groups per language, drawn where the data are published or yours; a group is one item in all its languages.
        shots: Answered demonstrations before each question.
        shots_language: The language of the demonstrations; by default that of the question.
        seed: Of the demonstrations and of the draw; of the lexicon also of its choices and their order.

    Raises:
        UnknownName, BadInput, NotReachable: a task, language, file or template is not available; the message says which.
    """
    if shots_language and prompt_language != "en":
        raise BadInput(
            "demonstrations in another language need templates in both languages; use the English ones (prompt language en)"
        )
    data, templates = (expanded(each) if each else None for each in (data, templates))
    languages, names = (list(each) if each is not None else None for each in (languages, names))
    benchmark = _known(task, data, templates)
    asked = [*languages, shots_language] if languages and shots_language else languages
    rows = _rows(task, benchmark, asked, limit, data, revision, seed)
    there = tuple(dict.fromkeys(row["language"] for row in rows))
    kind: Kind = benchmark.kind if benchmark is not None else "rank"
    found = _templates(task, benchmark, there, prompt_language, templates, names, shots)
    if templates is None and benchmark is not None and benchmark.order:
        rows = [{**row, "label": benchmark.order[row["label"]]} for row in rows]
    digest = fingerprint(rows)  # first, since it reports rows that cannot be sent to the templates' process
    try:
        made = _items(task, kind, rows, found, shots, shots_language, seed)
    except BadInput as error:  # the message names the row but not the file
        raise BadInput(f"{data}: {error}" if data else str(error)) from error
    items = [item for item in made.items if not languages or item.language in languages]
    if not items:
        raise BadInput(f"no rows of {task!r} remain as questions; give more rows, or fewer demonstrations")
    _expect_unique(items)
    if kind == "rank":
        _expect_both_answers(rows, items)
    used = tuple(dict.fromkeys(template for each in found.values() for template in each))
    return EvaluationPlan(
        task=task,
        benchmark=benchmark,
        source=_source(task, benchmark, data, revision),
        badge=_badge(task, data),
        data_digest=digest,
        contaminated=contamination(task, benchmark.hub_id if benchmark else "", data.stem if data else ""),
        untested=benchmark is not None and data is None,
        prompt_language=prompt_language,
        wordings=provenance(benchmark, templates, used),
        shots=shots,
        templates=used,
        items=tuple(items),
        skipped=made.skipped,
        accepted={
            (row["cluster"], row["language"]): tuple(row["accepted"]) for row in rows if "accepted" in row
        },
    )


def _templates(
    task: str,
    benchmark: Benchmark | None,
    languages: Sequence[str],
    prompt_language: str,
    folder: Path | None,
    names: Sequence[str] | None,
    shots: int,
) -> dict[str, list[Template]]:
    """Return the templates for each language; none for pairs, whose texts are scored as they are."""
    if benchmark is None or benchmark.kind != "pairs":
        return {
            code: find_templates(task, benchmark, code, prompt_language, folder, names) for code in languages
        }
    if folder is not None or names is not None or shots or prompt_language != "en":
        raise BadInput(
            f"{task!r} compares pairs of texts and has no prompt; leave out templates, prompt language and demonstrations"
        )
    return {code: [] for code in languages}


def _known(task: str, data: Path | None, templates: Path | None) -> Benchmark | None:
    """Return the published task of that name; None for one that ships with a family, or for the user's own."""
    benchmark = benchmarks().get(task)
    if benchmark is None and task not in offline_tasks() and not (data and templates):
        raise UnknownName(
            f"no task called {task!r}; shipped: {', '.join(offline_tasks())}; published: {', '.join(benchmarks())}; "
            "for a task of your own, give both data and templates"
        )
    return benchmark


def _rows(
    task: str,
    benchmark: Benchmark | None,
    languages: Sequence[str] | None,
    limit: int | None,
    data: Path | None,
    revision: str | None,
    seed: int,
) -> list[dict[str, Any]]:
    if benchmark is not None:
        try:
            return read_benchmark(benchmark, languages, limit, data, revision, seed=seed)
        except NotReachable as error:
            untried = " (this path on the hub has not been tried yet)" if benchmark.hub_id else ""
            raise NotReachable(f"{error}{untried}") from error
    if revision is not None:
        raise BadInput(f"{task!r} does not come from the hub; drop the revision {revision!r}")
    if data is not None:
        return read_any(task, data, languages, limit, seed=seed)
    return read_rows(task, languages, limit, seed=seed)


def _items(
    task: str,
    kind: Kind,
    rows: Sequence[dict[str, Any]],
    templates: dict[str, list[Template]],
    shots: int,
    shots_language: str | None,
    seed: int,
) -> Asked:
    """Make the items; languages with the same templates are grouped, so that demonstrations can be in another language."""
    if kind == "pairs":
        return Asked(tuple(replace(item, task=task) for item in pair_items(rows)), {})
    groups: dict[tuple[Template, ...], list[str]] = {}
    for code, of_language in templates.items():
        groups.setdefault(tuple(of_language), []).append(code)
    made: list[Item] = []
    skipped: Counter[str] = Counter()
    for alike, codes in groups.items():
        chosen = [row for row in rows if row["language"] in codes]
        found = ask_with_shots(chosen, alike, shots, seed=seed, language=shots_language)
        made += found.items
        skipped.update(found.skipped)
    return Asked(tuple(replace(item, task=task) for item in made), dict(skipped))


def _expect_unique(items: Sequence[Item]) -> None:
    found, count = Counter(item.id for item in items).most_common(1)[0]
    if count > 1:
        raise BadInput(
            f"{count} items have the id {found!r}; give each row of a language its own id, and each template its own name"
        )


def _expect_both_answers(rows: Sequence[dict[str, Any]], items: Sequence[Item]) -> None:
    """Raise if a template marks the same choice as right for more than 20 rows whose labels differ.

    This happens if a template compares a label with a number, but the label is published as text.
    """
    if len({row["label"] for row in rows}) < 2:
        return
    golds: dict[str, list[int | None]] = {}
    for item in items:
        golds.setdefault(item.template, []).append(item.gold)
    for name, found in golds.items():
        if len(set(found)) == 1 and len(found) > 20:
            raise BadInput(
                f"template {name!r} marks choice {found[0]} as right for all {len(found)} rows, although their labels differ; "
                "check how it compares the label"
            )


def _badge(task: str, data: Path | None) -> Badge:
    of_family = (one.source or one.name for one in families() if one.data is not None and one.has_task(task))
    return data_badge(str(data) if data is not None else next(of_family, "published"))


def _source(task: str, benchmark: Benchmark | None, data: Path | None, revision: str | None) -> str:
    if data is not None:
        return f"files {data.name}"
    if benchmark is not None:
        return f"{benchmark.hub_id}@{revision or benchmark.revision}"
    return origin() if task in lexicon.TASKS else "ships with the package"
