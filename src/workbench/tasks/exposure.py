"""What each side of the family has seen of a language: its share of the pretraining and of the finetuning data."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from babel.core import get_global

from workbench.errors import UnknownName
from workbench.family import families, family_of, find_language


@dataclass(frozen=True)
class Exposure:
    """A language, and its share of the training data in percent; None if it is not in them, or if nothing is known about it.

    `pretraining` is by architecture: of ROOTS for "bloom", of mC4 for "mt5". `finetuning` is the share of xP3, the same on both
    sides. `is_known` is false for a code outside `data/languages.csv`, such as one of an artificial language. `script` is the
    ISO 15924 code of the script that the language is mostly written in, according to CLDR; empty if CLDR has none.
    """

    code: str
    name: str
    script: str
    pretraining: Mapping[str, float | None]
    finetuning: float | None
    is_known: bool = True

    def is_seen(self, architecture: str) -> tuple[bool, bool]:
        """Return whether one side has seen it in pretraining, and in finetuning on xP3."""
        return self.pretraining[architecture] is not None, self.finetuning is not None


def exposures(codes: Iterable[str]) -> tuple[Exposure, ...]:
    """Return the exposure of each language, in the order of their first appearance."""
    return tuple(map(exposure, dict.fromkeys(codes)))


def exposure(code: str) -> Exposure:
    """Return what each side of the family has seen of a language, from the table of languages."""
    try:
        found = find_language(code)
    except UnknownName:
        return Exposure(
            code, code, _script(code), MappingProxyType({"bloom": None, "mt5": None}), None, False
        )
    shares = {"bloom": found.roots_percent, "mt5": found.mc4_percent}
    return Exposure(code, found.name, _script(found.code), MappingProxyType(shares), found.xp3_percent)


def seen_in_finetuning(code: str, model: str = "") -> bool:
    """Return whether a language is in the multilingual finetuning mixture: xP3, or that of the model's family if it has its own.

    Without a model, the mixtures of all families count.
    """
    in_xp3 = exposure(code).finetuning is not None
    if not model:
        return in_xp3 or any(code in one.finetuned for one in families())
    owner = family_of(model)
    return code in owner.finetuned if owner and owner.finetuned else in_xp3


def _script(code: str) -> str:
    aliases, likely = get_global("language_aliases"), get_global("likely_subtags")
    parts = likely.get(aliases.get(code, code), "").split(
        "_"
    )  # Twi is written like the Akan that CLDR takes it for
    return parts[1] if len(parts) > 2 else ""
