"""Sixty short sentences of our own in 24 languages, with attributes to probe for and two hard negatives each.

`parallel/topic`, `parallel/sentiment` (of statements) and `parallel/polarity` (is it negated?) ask about an attribute, with
choices; `parallel/translation` asks for the sentence in English, and for the English one in the language. `texts` gives the
sentences for probes and retrieval. Attributes belong to the meaning, so they are the same in all languages. A hard
negative differs from its sentence in one respect that `change_1` and `change_2` name: the noun, or another word.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from workbench.family import find_language
from workbench.paths import data_path
from workbench.tasks.selection import select
from workbench.tasks.tables import read_table

RANKED = ("parallel/polarity", "parallel/sentiment", "parallel/topic")
TASKS = {name: name for name in (*RANKED, "parallel/translation")}  # with the file of their templates
# the values of the attribute that a task asks for, in the order of its choices
LABELS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "polarity": ("affirmed", "negated"),
        "sentiment": ("bad", "good"),
        "topic": ("food", "home", "school", "travel", "health", "nature"),
    }
)
_SENTENCE = ("meaning", "language", "text", "negative_1", "negative_2", "checked")


def rows(task: str, languages: Sequence[str] | None = None, limit: int | None = None) -> list[dict[str, Any]]:
    """Return a task's rows; of `parallel/sentiment`, only statements; of `parallel/translation`, two a meaning, and none in English.

    Raises:
        UnknownName: a language without sentences; the message lists the available ones.
        BadInput: a limit that is not an integer above 0.
    """
    attribute = task.removeprefix("parallel/")
    if task not in RANKED:
        return select(_translations(task), languages, limit, f"task {task!r}")
    values = LABELS[attribute]
    asked = [row for row in _read() if row[attribute]]
    made = [{**row, "task": task, "label": values.index(row[attribute])} for row in asked]
    return select(made, languages, limit, f"task {task!r}")


def _translations(task: str) -> list[dict[str, Any]]:
    english = {row["cluster"]: row["text"] for row in _read() if row["language"] == "en"}
    made = []
    for row in _read():
        meaning, own = row["cluster"], (find_language(row["language"]).name, row["text"])
        pairs = {"to": (own, ("English", english[meaning])), "from": (("English", english[meaning]), own)}
        for way, ((source, text), (target_language, target)) in pairs.items():
            translated = {"source_language": source, "text": text, "target_language": target_language}
            named = {"id": f"{meaning}-{way}", "cluster": meaning, "language": row["language"], "task": task}
            made += [{**named, **translated, "target": target}] if row["language"] != "en" else []
    return made


def texts(languages: Sequence[str] | None = None, limit: int | None = None) -> list[dict[str, Any]]:
    """Return the sentences with their attributes and `negatives`; `sentiment` is None for questions.

    Raises:
        UnknownName, BadInput: as `rows`.
    """
    return select(list(_read()), languages, limit, "the parallel sentences")


@lru_cache(maxsize=1)
def _read() -> tuple[dict[str, Any], ...]:
    meanings = {row.fields["meaning"]: row.fields for row in _table("meanings", ("meaning", *LABELS))}
    return tuple(
        _joined(row.fields, meanings[row.fields["meaning"]]) for row in _table("sentences", _SENTENCE)
    )


def _table(name: str, needed: Sequence[str]) -> list[Any]:
    return read_table(data_path(f"parallel/{name}.csv"), needed)


def _joined(sentence: Mapping[str, Any], meaning: Mapping[str, Any]) -> dict[str, Any]:
    known = {name: value or None for name, value in meaning.items() if name != "meaning"}
    return {
        "id": sentence["meaning"],
        "cluster": sentence["meaning"],
        "language": sentence["language"],
        "text": sentence["text"],
        **known,
        "negatives": [sentence["negative_1"], sentence["negative_2"]],
        "checked": sentence["checked"],
    }
