"""Real words in fifty languages, from CLDR: translation of names, the order of months and of weekdays, parallel words.

`lexicon/words` asks for a name in a language (what is "Germany" in Yoruba?), `lexicon/meanings` for the English name, and
`lexicon/months` and `lexicon/weekdays` for the one between two neighbours, in the language itself. A set of choices is asked
about once for each of its members, so that the choices alone (the longest one, the first in the alphabet) are right no more
often than chance; a limit takes whole sets. Names that equal an English one are not asked about; `texts` marks them.
"""

import random
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from workbench.family import find_language
from workbench.family import languages as known_languages
from workbench.tasks.cldr import KINDS, Kind, Name, names, prominence
from workbench.tasks.selection import expect_languages, select_each
from workbench.tasks.spelling import normal, similarity

TASKS = {
    "lexicon/meanings": "lexicon/meanings",
    "lexicon/months": "lexicon/order",
    "lexicon/weekdays": "lexicon/order",
    "lexicon/words": "lexicon/words",
}  # with the file of their templates
_NAMED: tuple[Kind, ...] = ("country", "language")
_CHOICES = 4  # in a question about a name
_APART: Mapping[str, tuple[int, int]] = {
    "month": (3, 4),
    "weekday": (2, 3),
}  # step and size of a set of choices
_LEAST = 8  # names of a kind that a language needs
_MOVED = 3  # letters by which a draw moves a name among those of its length


def rows(
    task: str,
    languages: Sequence[str] | None = None,
    limit: int | None = None,
    seed: int = 0,
    *,
    shared: bool = False,
) -> list[dict[str, Any]]:
    """Return a task's rows in these languages, or in all that have some, with at most `limit` meanings in each.

    Args:
        shared: Ask about names that all these languages have, in the same sets, alike in English.

    Raises:
        UnknownName: a language without rows; the message lists those that have some.
        BadInput: a limit that is not an integer above 0.
    """
    codes = languages if languages is not None else _codes()
    among = (_common(codes) or None) if shared else None
    found = {code: _rows(task, code, seed, among) for code in codes}
    if languages is not None and not all(found.values()):
        expect_languages(languages, [code for code in _codes() if _rows(task, code, seed)], f"task {task!r}")
    return select_each([{**row, "task": task} for each in found.values() for row in each], limit)


def texts(languages: Sequence[str] | None = None, limit: int | None = None) -> list[dict[str, Any]]:
    """Return names of all kinds as parallel words, English ones too, in one drawn order of their meanings.

    `key` says what a name is of, `equal` whether it is as in English.

    `similarity` is that of its spelling to the English name's, `prominence` that of the thing (0: the highest).

    Raises:
        UnknownName, BadInput: as `rows`.
    """
    made = [
        _word(code, kind, key)
        for code in (languages if languages is not None else _codes())
        for kind in KINDS
        for key in names(code, kind)
        if key in names("en", kind)
    ]
    expect_languages(languages or (), dict.fromkeys(row["language"] for row in made), "the lexicon")
    place = _places(0, KINDS)
    return select_each(sorted(made, key=lambda row: place[row["id"]]), limit)


def _codes() -> list[str]:
    return [one.code for one in known_languages()]


def _rows(task: str, code: str, seed: int, among: frozenset[str] | None = None) -> list[dict[str, Any]]:
    if task in ("lexicon/words", "lexicon/meanings"):
        return _translations(code, seed, among, back=task == "lexicon/meanings")
    return _order(code, seed, "month" if task == "lexicon/months" else "weekday")


def _word(code: str, kind: Kind, key: str) -> dict[str, Any]:
    own, english, meaning = names(code, kind)[key], names("en", kind)[key], f"{kind}-{key}"
    return {
        "id": meaning,
        "cluster": meaning,
        "language": code,
        "language_name": find_language(code).name,
        "text": own.text,
        "kind": kind,
        "key": key,
        "english": english.text,
        "similarity": round(similarity(english.text, own.text), 3),
        "equal": _equal(own, english),
        "prominence": prominence(kind, key),
    }


def _equal(own: Name, english: Name) -> bool:
    return normal(own.text) in {normal(form) for form in english.forms}


@lru_cache(maxsize=512)
def _fitting(code: str, kind: Kind) -> Mapping[str, Name]:
    """Return the names to ask about: not equal to the English one, nor a name of two things in either language."""
    own, english = _distinct(code, kind), _distinct("en", kind)
    return {key: one for key, one in own.items() if key in english and not _equal(one, english[key])}


@lru_cache(maxsize=512)
def _distinct(code: str, kind: Kind) -> Mapping[str, Name]:
    """Return the names that mean one thing, without those of their forms that mean two."""
    found = names(code, kind)
    count = Counter(form for one in found.values() for form in {normal(form) for form in one.forms})
    alone = {
        key: Name(one.text, tuple(form for form in one.forms if count[normal(form)] == 1))
        for key, one in found.items()
    }
    return {key: one for key, one in alone.items() if one.text in one.forms}


def _common(codes: Sequence[str]) -> frozenset[str]:
    """Return the countries and languages that can be asked about in all these languages; none of a kind with too few."""
    kinds = {kind: [{*_fitting(code, kind)} for code in codes] for kind in _NAMED if codes}
    common = {kind: set.intersection(*each) for kind, each in kinds.items()}
    return frozenset(f"{kind}-{key}" for kind, keys in common.items() if len(keys) >= _LEAST for key in keys)


def _translations(code: str, seed: int, among: frozenset[str] | None, *, back: bool) -> list[dict[str, Any]]:
    made = []
    for kind in _NAMED:
        own, english = _fitting(code, kind), _distinct("en", kind)
        answers = english if back else own
        measured = answers if among is None else english  # by whose length they are alike
        asked = [key for key in own if among is None or f"{kind}-{key}" in among]
        for drawn in _sets({key: measured[key].text for key in asked}, kind, seed):
            choices = [answers[key].text for key in drawn]
            made += [_question(code, kind, key, drawn, choices, answers[key].forms) for key in drawn]
    place = _places(seed, _NAMED)
    return sorted(made, key=lambda row: place[row["id"]])


def _question(
    code: str, kind: Kind, key: str, drawn: Sequence[str], choices: Sequence[str], accepted: Sequence[str]
) -> dict[str, Any]:
    return {
        **_word(code, kind, key),
        "choices": list(choices),
        "label": choices.index(accepted[0]),
        "accepted": list(accepted),
        "set": f"{kind}-{'-'.join(drawn)}",
    }


def _sets(found: Mapping[str, str], kind: Kind, seed: int) -> list[list[str]]:
    """Divide things into sets of four alike in prominence and in length of name, in a drawn order; up to three are left over."""
    if len(found) < _LEAST:
        return []
    draw = random.Random(f"{kind} {seed}")
    place = {key: (prominence(kind, key), len(text) + _MOVED * draw.random()) for key, text in found.items()}
    ordered = sorted(found, key=lambda key: place[key])
    starts = range(0, len(ordered) - _CHOICES + 1, _CHOICES)
    return [draw.sample(ordered[start : start + _CHOICES], _CHOICES) for start in starts]


@lru_cache(maxsize=8)
def _places(seed: int, kinds: tuple[Kind, ...]) -> dict[str, int]:
    """Return an order of all meanings, so that a limit takes the same ones in every language that has them."""
    meanings = [f"{kind}-{key}" for kind in kinds for key in names("en", kind)]
    random.Random(f"order {seed}").shuffle(meanings)
    return {meaning: number for number, meaning in enumerate(meanings)}


def _order(code: str, seed: int, kind: Kind) -> list[dict[str, Any]]:
    """Ask which name is missing between two; no choice is next to the right one, so no choice is in the question."""
    keys = sorted(names(code, kind), key=int)
    words = [names(code, kind)[key].text for key in keys]
    if len({normal(word) for word in words}) < len(words) or any(map(_holds_number, words)):
        return []  # "一月" and "tháng 1" need only counting
    draw = random.Random(f"{kind} {seed}")
    made = []
    for number, members in enumerate(_apart(len(words), *_APART[kind])):
        drawn = draw.sample(members, len(members))
        named, choices = [keys[n] for n in drawn], [words[n] for n in drawn]
        for n in drawn:
            asked = _question(code, kind, keys[n], named, choices, [words[n]])
            between = {"before": words[n - 1], "after": words[(n + 1) % len(words)]}
            made.append({**asked, **between, "id": f"{kind}-{keys[n]}-{number}"})
    return draw.sample(made, len(made))


def _apart(count: int, step: int, size: int) -> list[tuple[int, ...]]:
    """Return all sets of `size` places on a circle of `count` that are `step` apart."""
    return sorted({tuple(sorted((n + step * m) % count for m in range(size))) for n in range(count)})


def _holds_number(text: str) -> bool:
    return any(unicodedata.numeric(sign, None) is not None for sign in text)
