"""What is asked of a source where tasks, languages or an attribute are not named, and what its data are."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from workbench.errors import BadInput
from workbench.family import family_with_data, fitting_source
from workbench.tasks.benchmarks import benchmarks

_LANGUAGES = (
    "fr",
    "ar",
    "hi",
    "sw",
    "zh",
    "de",
    "ru",
    "th",
    "tr",
)  # five that xP3 contains, four that it does not
_FIXED = ("id", "cluster", "language", "language_name", "text")


@dataclass(frozen=True)
class Fitting:
    """What fits a source: tasks with choices, languages beside English (none: all there are), the attribute that probes read,
    and the field with the word that a text is about.

    `about` is a sentence about its data for a reader of results. Empty where there is nothing that fits.
    """

    source: str
    about: str
    tasks: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    attribute: str = ""
    word: str = ""


_NAMED = MappingProxyType(
    {
        "lexicon": Fitting(
            "lexicon",
            "The items are from CLDR's names of countries, languages, months and weekdays: real words, and no evidence about whole "
            "sentences.",
            ("lexicon/words", "lexicon/meanings"),
            _LANGUAGES,
            "kind",
        ),
        "parallel": Fitting(
            "parallel",
            "The items are short sentences written for this project, which no speaker of the languages has checked yet.",
            ("parallel/topic", "parallel/polarity"),
            _LANGUAGES,
            "topic",
            "noun",
        ),
        "published": Fitting("published", "The items are those of published data sets.", ("xcopa",)),
    }
)


def fitting(source: str, *models: str) -> Fitting:
    """Return what fits a source; without a source, the one that fits the models: their family's, or else real words.

    A folder or hub id that is called as a published task has that task.
    """
    name = source or fitting_source(models)
    family = family_with_data(name)
    if family is not None:
        return Fitting(name, family.about, attribute=family.attribute)
    last = name.rstrip("/").rpartition("/")[2]
    task = (last,) if last in benchmarks() else ()
    return _NAMED.get(name, Fitting(name, f"The data are those of {last}.", task))


def attributes(texts: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """Return the fields that probes can read: equal in all languages of a meaning, and with values that several meanings share."""
    meanings = len({row["cluster"] for row in texts})
    found = []
    for name in dict.fromkeys(field for row in texts for field in row if field not in _FIXED):
        values = {(row["cluster"], repr(row.get(name))) for row in texts}
        kinds = {value for _, value in values}
        if len(values) == meanings and 2 <= len(kinds) <= meanings / 2:
            found.append(name)
    return tuple(found)


def word_of(attribute: str, texts: Sequence[dict[str, Any]], source: str = "") -> str:
    """Return the field with the word that a text is about, which a probe of the attribute should not have seen.

    It is the one named for the source, else the field with the fewest values that determine the attribute (the object its class),
    else "cluster": each meaning is its own word.
    """
    stated = [row for row in texts if row.get(attribute) is not None]
    known = attributes(stated)
    if (named := fitting(source).word) in known:
        return named
    values = {name: {(repr(row.get(name)), repr(row[attribute])) for row in stated} for name in known}
    kinds = {name: len({value for value, _ in pairs}) for name, pairs in values.items()}
    finer = [name for name in known if len(values[name]) == kinds[name] > kinds[attribute]]
    return min(finer, key=kinds.__getitem__, default="cluster")


def expect_attribute(name: str, texts: Sequence[dict[str, Any]], source: str) -> str:
    """Return the attribute, or what fits the source if it is empty.

    Raises:
        BadInput: the texts do not have it; the message lists those that they have.
    """
    known, wanted = attributes(texts), name or fitting(source).attribute
    if wanted not in known:
        raise BadInput(
            f"texts of {source} have no attribute {wanted!r} to read; choose one of: {', '.join(known)}"
        )
    return wanted
