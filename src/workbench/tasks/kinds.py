"""Rows of a task on the hub, by the way in which it is asked: ranked, as pairs of texts, generated, or translated."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from workbench.errors import BadInput
from workbench.tasks.benchmarks import Benchmark, Kind
from workbench.tasks.exposure import exposure
from workbench.tasks.tables import Row
from workbench.tasks.values import whole

Fields = dict[str, Any]


def task_rows(benchmark: Benchmark, language: str, rows: Sequence[Row]) -> list[Fields]:
    """Return the rows of one language with id, language, task, cluster (the meaning), and what the kind of task needs.

    `rank`: `label`, from 0. `pairs`: `texts`, the right one first. `answers`: `accepted`, the right texts. `translation`: `text`,
    to be joined with the pivot's by `translated`.

    Raises:
        BadInput: no rows, or one with a missing or invalid field or label; the message names file and row.
    """
    if not rows:
        raise BadInput(f"there are no rows of {benchmark.name} in {language!r}; name other languages or data")
    add, made, skipped = _ADD[benchmark.kind], [], 0
    for number, row in enumerate(rows):
        if benchmark.skip_incomplete and any(row.fields.get(name) in (None, "") for name in benchmark.needed):
            skipped += 1
            continue
        _expect_texts(benchmark, row)
        cluster = _cluster(benchmark, language, row, number)
        same = {
            "id": f"{language}-{number}",
            "language": language,
            "task": benchmark.name,
            "cluster": cluster,
        }
        made.append({**row.fields, **same, **add(benchmark, row)})
    if skipped:
        warnings.warn(
            f"{benchmark.name}: {skipped} rows in {language} have an empty text and are left out",
            stacklevel=2,
        )
    return made


def translated(benchmark: Benchmark, rows: Sequence[Fields]) -> list[Fields]:
    """Join the rows of each language with the pivot's of the same meaning: source, target, and the names of their languages.

    Raises:
        BadInput: a meaning that the pivot lacks, or has twice.
    """
    pivots = {row["cluster"]: row["text"] for row in rows if row["language"] == benchmark.pivot}
    others = [row for row in rows if row["language"] != benchmark.pivot]
    if len(pivots) != len(rows) - len(others):
        raise BadInput(
            f"{benchmark.name} has a meaning twice in {benchmark.pivot!r}; give each sentence once"
        )
    made = []
    for row in others:
        if row["cluster"] not in pivots:
            raise BadInput(
                f"{benchmark.name} has the meaning {row['cluster']!r} in {row['language']!r} and not in {benchmark.pivot!r}"
            )
        sides = [(row["text"], row["language"]), (pivots[row["cluster"]], benchmark.pivot)]
        (source, one), (target, other) = reversed(sides) if benchmark.from_pivot else sides
        names = {"source_language": exposure(one).name, "target_language": exposure(other).name}
        made.append({**row, "source": source, "target": target, **names, "accepted": [target]})
    return made


def label_of(row: Row, name: str, first: int = 0, choices: int | None = None) -> int:
    """Return a row's label, counted from 0.

    Raises:
        BadInput: it is no whole number, or out of range.
    """
    value = row.fields[name]
    number = whole(value)
    label = -1 if number is None else number - first
    if label < 0 or (choices is not None and label >= choices):
        allowed = f"{first} to {first + choices - 1}" if choices else "a whole number from 0"
        raise BadInput(
            f"{row.where} has the label {value!r} in {name!r}; allowed is {allowed} (hidden labels cannot be scored)"
        )
    return label


def _expect_texts(benchmark: Benchmark, row: Row) -> None:
    extra = [name for name in (benchmark.label, benchmark.answers) if name]
    for name in (*benchmark.needed, *extra):
        if name not in row.fields:
            raise BadInput(
                f"{row.where} lacks the field {name!r}; needed are {', '.join((*benchmark.needed, *extra))}"
            )
    for name in benchmark.needed:
        if not isinstance(row.fields[name], str) or not row.fields[name].strip():
            raise BadInput(f"{row.where} has {row.fields[name]!r} as {name!r}; it must be a text")


def _ranked(benchmark: Benchmark, row: Row) -> Fields:
    # third-party templates read the label as published, number or text; `label` itself always counts from 0
    value = row.fields[benchmark.label]
    if benchmark.labels:
        if value not in benchmark.labels:
            allowed = ", ".join(benchmark.labels)
            raise BadInput(f"{row.where} has {value!r} in {benchmark.label!r}; allowed is {allowed}")
        return {"label": benchmark.labels.index(value)}
    label = label_of(row, benchmark.label, benchmark.first_label, benchmark.choices)
    published = label + benchmark.first_label
    return {"label": label, benchmark.label: str(published) if benchmark.label_is_text else published}


def _pair(benchmark: Benchmark, row: Row) -> Fields:
    right, wrong = (row.fields[name] for name in benchmark.needed)
    if right == wrong:
        raise BadInput(f"{row.where} has the same text twice, {right[:40]!r}; a pair has two")
    return {"texts": [right, wrong]}


def _answered(benchmark: Benchmark, row: Row) -> Fields:
    value = row.fields[benchmark.answers]
    texts = value.get("text") if isinstance(value, dict) else value
    known = (
        [text for text in texts if isinstance(text, str) and text.strip()] if isinstance(texts, list) else []
    )
    if not known:
        raise BadInput(
            f"{row.where} has {str(value)[:40]!r} as {benchmark.answers!r}; give texts, as a list or as the list `text` of an object"
        )
    return {"accepted": list(dict.fromkeys(known))}


_ADD: Mapping[Kind, Callable[[Benchmark, Row], Fields]] = MappingProxyType(
    {
        "rank": _ranked,
        "pairs": _pair,
        "answers": _answered,
        "translation": lambda benchmark, row: {"text": row.fields[benchmark.needed[0]]},
    }
)


def _cluster(benchmark: Benchmark, language: str, row: Row, number: int) -> str:
    if not benchmark.meaning:
        return f"{language}-{number}"
    if isinstance(benchmark.meaning, tuple):
        return "|".join(str(row.fields.get(name, number)) for name in benchmark.meaning)
    place = number if benchmark.meaning == "row" else row.fields.get(benchmark.meaning, number)
    meaning = whole(place)
    if meaning is not None:
        return str(meaning // benchmark.per_meaning)
    if not isinstance(place, str) or not place.strip():
        raise BadInput(f"{row.where} has {place!r} as {benchmark.meaning!r}; give a whole number or a name")
    return place
