"""The languages of the family's corpora: their shares of ROOTS, mC4 and xP3, and which of them a checkpoint has seen.

The facts are in `data/languages.csv`, with a source per row. `workbench.tasks.exposure` joins them to rows of data.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from workbench.errors import UnknownName
from workbench.family.catalogue import checkpoints, named, nearest, rows_of

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
def languages() -> tuple[Language, ...]:
    """Return the languages of ROOTS and xP3, then those of the published evaluation that are in neither."""
    return tuple(_language(row) for row in rows_of("languages.csv"))


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


def _language(row: dict[str, str]) -> Language:
    fields: dict[str, object] = {key: value or None for key, value in row.items()}
    fields |= {key: int(row[key]) if row[key] else None for key in ("roots_bytes", "xp3_samples")}
    fields |= {key: float(row[key]) if row[key] else None for key in _SHARES}
    return Language(**fields)  # type: ignore[arg-type]
