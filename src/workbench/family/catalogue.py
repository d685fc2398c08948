"""The built-in family: the 28 checkpoints of BLOOMZ & mT0 and their bases, and the languages they saw.

The facts are two CSV files with a source per row; a figure we could not check ourselves is named in the row's
`unverified` column and is shown with a question mark. No model code is imported here, and no pandas.
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
    """A language and its share, in percent, of three corpora; None: not in that corpus."""

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
    """List the 28 checkpoints of the family, BLOOM side first, bases before what was finetuned from them."""
    return tuple(_checkpoint(row) for row in _rows("checkpoints.csv"))


@lru_cache(maxsize=1)
def languages() -> tuple[Language, ...]:
    """List the languages of ROOTS and xP3, then those of the published evaluation that neither contains."""
    return tuple(_language(row) for row in _rows("languages.csv"))


def find_language(code: str) -> Language:
    """Find a language by its code; `jp`, as XWinograd writes it, is Japanese.

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
    """Give the codes of the languages a checkpoint was trained on, of those in `languages()`.

    "Seen" means seen on purpose: ROOTS holds traces of others. mC4 has 101 languages, of which the table lists
    only those that matter here. P3 is English, xP3 and xP3mt have the same 46.
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
    """Find a checkpoint by its short name or its hub id; None if there is none."""
    return next((one for one in among if name in (one.name, one.hub_id)), None)


def nearest(name: str, known: Sequence[str]) -> str:
    """Suggest the names nearest to a wrong one, or list all where none is near."""
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
