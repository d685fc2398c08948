"""The built-in family: the 28 checkpoints of BLOOMZ & mT0 and their bases, and their training languages.

The facts are in two CSV files with a source per row; a value that we could not verify is named in the row's `unverified`
column and displayed with a question mark. Imports neither model code nor pandas.
"""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from types import MappingProxyType
from typing import Literal

from workbench.errors import UnknownName
from workbench.family.checkpoints import Checkpoint
from workbench.paths import data_path

PUBLISHED_TRUNCATION = MappingProxyType(
    {"bloom": 2048, "mt5": 512}
)  # input tokens in the published evaluation
_NUMBERS = (
    "parameters",
    "layers",
    "width",
    "heads",
    "feed_forward",
    "vocabulary",
    "steps",
    "tokens",
    "context_length",
)
_SHARES = ("roots_percent", "xp3_percent", "mc4_percent")


@dataclass(frozen=True)
class Language:
    """A language and its share of three corpora, in percent; None if it is not in the corpus."""

    code: str
    name: str
    genus: str | None
    roots_bytes: int | None
    roots_percent: float | None
    xp3_percent: float | None
    xp3_samples: int | None
    mc4_percent: float | None
    source: str


@lru_cache(maxsize=1)
def checkpoints() -> tuple[Checkpoint, ...]:
    """Return the 28 checkpoints of the family, BLOOM side first, each base before the models finetuned from it."""
    return tuple(_checkpoint(row) for row in _rows("checkpoints.csv"))


@lru_cache(maxsize=1)
def languages() -> tuple[Language, ...]:
    """Return the languages of ROOTS and xP3, then those of the published evaluation that are in neither."""
    return tuple(_language(row) for row in _rows("languages.csv"))


def find_language(code: str) -> Language:
    """Return a language by its code; `jp`, the code in XWinograd, is Japanese.

    Raises:
        UnknownName: a code outside the table; the message lists the nearest.
    """
    wanted = "ja" if code == "jp" else code
    for language in languages():
        if language.code == wanted:
            return language
    raise UnknownName(
        f"no language {code!r} in the table; {nearest(code, [lang.code for lang in languages()])}"
    )


def languages_seen(name: str, stage: Literal["pretraining", "finetuning", "any"] = "any") -> tuple[str, ...]:
    """Return the codes of the languages in `languages()` on which a checkpoint was trained.

    Only intended training languages count: ROOTS also contains traces of others. mC4 has 101 languages, of which the table
    lists only those that matter here. P3 is English; xP3 and xP3mt have the same 46 languages.

    Raises:
        UnknownName: a checkpoint outside the catalogue; the message lists the nearest.
    """
    checkpoint = named(name, checkpoints())
    if checkpoint is None:
        known = [one.name for one in checkpoints()]
        raise UnknownName(f"the table has no languages of {name!r}; {nearest(name, known)}")
    corpus = "mc4_percent" if checkpoint.is_encoder_decoder else "roots_percent"
    pretrained = {lang.code for lang in languages() if getattr(lang, corpus) is not None}
    multilingual = {lang.code for lang in languages() if lang.xp3_percent is not None}
    finetuned: set[str] = {"none": set(), "P3": {"en"}}.get(checkpoint.mixture, multilingual)
    seen = {"pretraining": pretrained, "finetuning": finetuned, "any": pretrained | finetuned}[stage]
    return tuple(lang.code for lang in languages() if lang.code in seen)


def named(name: str, among: Iterable[Checkpoint]) -> Checkpoint | None:
    """Return the checkpoint with this short name or hub id; None if there is none."""
    return next((one for one in among if name in (one.name, one.hub_id)), None)


def nearest(name: str, known: Sequence[str]) -> str:
    """Return a hint with the names nearest to a wrong one, or with all names if none is near."""
    near = get_close_matches(name, known, n=4, cutoff=0.4)
    return f"nearest: {', '.join(near)}" if near else f"known: {', '.join(known)}"


def _checkpoint(row: dict[str, str]) -> Checkpoint:
    fields: dict[str, object] = {key: value or None for key, value in row.items()}
    fields |= {key: int(row[key]) if row[key] else None for key in _NUMBERS}
    return Checkpoint(**{**fields, "unverified": tuple(row["unverified"].split())})  # type: ignore[arg-type]


def _language(row: dict[str, str]) -> Language:
    fields: dict[str, object] = {key: value or None for key, value in row.items()}
    fields |= {key: int(row[key]) if row[key] else None for key in ("roots_bytes", "xp3_samples")}
    fields |= {key: float(row[key]) if row[key] else None for key in _SHARES}
    return Language(**fields)  # type: ignore[arg-type]


def _rows(name: str) -> Iterable[dict[str, str]]:
    with data_path(name).open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)
