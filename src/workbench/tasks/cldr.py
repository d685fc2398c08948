"""Names of countries, languages, months and weekdays in many languages, from CLDR as Babel holds it.

Only names that a language's own file contains count. `babel.Locale` would fill the gaps from parents (Haitian Creole gets
French names) and follows aliases (Twi is answered in Akan), and `babel.localedata.load(…, merge_inherited=False)` returns
whatever its cache has; so the files are unpickled here. They belong to an installed package, like its code.
"""

import pickle
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any, Literal, get_args

from babel.core import get_global
from babel.localedata import locale_identifiers, resolve_locale_filename

Kind = Literal["country", "language", "month", "weekday"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_CALENDAR = {"month": "months", "weekday": "days"}


@dataclass(frozen=True)
class Name:
    """The names of one entity in one language: the main form, and every form that CLDR has (the main one first)."""

    text: str
    forms: tuple[str, ...]


def origin() -> str:
    """Return the versions of CLDR and Babel, on which the names depend."""
    return f"CLDR {get_global('cldr')['version']} in Babel {version('babel')}"


@lru_cache(maxsize=512)
def names(language: str, kind: Kind) -> Mapping[str, Name]:
    """Return the names of a kind that a language's own file holds, by key; empty if it has none.

    Keys are those of CLDR: "DE", "de", "1" to "12" for months, "0" (Monday) to "6" for weekdays. Other forms come from the
    files of the language's regions (German of Switzerland), from the form that months take in dates, and from a name with
    another in brackets: "Myanmar (Burma)" is also Myanmar, and Burma. Forms in another script do not count.
    """
    main, *others = _tables(language, kind)
    found = {}
    for key, text in main.items():
        forms = dict.fromkeys(chain.from_iterable(_split(one[key]) for one in (main, *others) if key in one))
        same = [form for form in forms if form == text or alphabets(form) <= alphabets(text)]
        found[key] = Name(text, tuple(dict.fromkeys((text, *same))))
    return found


@lru_cache(maxsize=2048)
def prominence(kind: Kind, key: str) -> int:
    """Return the class of a country or language by its number of CLDR locales: 0 for the most, one more for every halving.

    It replaces the frequency of words, of which nothing offline has counts in fifty languages; 0 for months and weekdays.
    """
    count = _locales(kind)
    return (
        (max(count.values()) // max(1, count[key])).bit_length() - 1 if kind in ("country", "language") else 0
    )


def alphabets(text: str) -> set[str]:
    """Return the scripts of a text's letters, by the first words of their Unicode names ("LATIN", "CJK")."""
    return {_alphabet(sign) for sign in text if sign.isalpha()}


@lru_cache(maxsize=1 << 16)
def _alphabet(letter: str) -> str:
    return unicodedata.name(letter).split()[0]


def _tables(language: str, kind: Kind) -> list[dict[str, str]]:
    """Return the tables of names of a language's own file, the main one first, and those of its regions' files."""
    regions = [name for name in sorted(locale_identifiers()) if name.startswith(f"{language}_")]
    files = [_own(language), *map(_own, regions)]
    if kind in _CALENDAR:
        of = [file.get(_CALENDAR[kind], {}) for file in files]
        # in dates, a month takes another case than alone: "января", "январь"
        found = [one.get(use, {}).get("wide", {}) for one in of for use in ("stand-alone", "format")]
        found = [found[1], *found[2:]] if not found[0] else found
    else:
        found = [file.get("territories" if kind == "country" else "languages", {}) for file in files]
    return [{str(k): text for k, text in table.items() if _counts(kind, str(k))} for table in found]


def _counts(kind: Kind, key: str) -> bool:
    """Whether it is a month, a weekday, a country with speakers (not Antarctica or the euro zone), or a language official somewhere."""
    if kind == "language":
        return key in _official() and key in _locales(kind)
    return kind in _CALENDAR or key in _locales(kind)


@lru_cache(maxsize=1)
def _official() -> frozenset[str]:
    spoken = get_global("territory_languages").values()
    return frozenset(code for one in spoken for code, how in one.items() if how["official_status"])


@lru_cache(maxsize=512)
def _own(locale: str) -> dict[str, Any]:
    path = Path(resolve_locale_filename(locale))
    if not path.is_file():
        return {}
    found = pickle.loads(path.read_bytes())
    return {part: found.get(part, {}) for part in ("territories", "languages", *_CALENDAR.values())}


@lru_cache(maxsize=4)
def _locales(kind: Kind) -> Counter[str]:
    """Count the CLDR locales of each country or language."""
    parts = [name.split("_") for name in locale_identifiers()]
    if kind == "language":
        return Counter(first for first, *_ in parts)
    return Counter(part for _, *rest in parts for part in rest if len(part) == 2)


def _split(text: str) -> tuple[str, ...]:
    """Return a name and, if it holds another in brackets, both of them alone."""
    both = re.fullmatch(r"(.+?)\s*[(（](.+)[)）]", text)
    return (text, *both.groups()) if both else (text,)
