"""In which language a short answer is: by its script, then by known words, then by a statistical identifier.

Each step can only rule out candidates, so an answer must be in one of them for the result to hold: give every language that
it could be in, the prompt's and English among them. What cannot be decided is "undetermined" and stays among its candidates:
a word that two languages spell alike, one word of an unknown vocabulary, a language without models.

The identifier is lingua (the extra `language-id`), chosen on single words, which answers often are. Measured on words of the
sources `parallel` and `lexicon` in eleven languages of Latin script (en es pt fr id vi sw de tr it ca; in brackets: with English as
the only other candidate), the share right:

=========  ===========  ===========  ===========  ====================================
           one word     two words    four words   months, weekdays, names of languages
=========  ===========  ===========  ===========  ====================================
lingua     .84 (.97)    .89 (.98)    .97 (1.00)   .61 (.91)
py3langid  .71 (.90)    .89 (.98)    .99 (1.00)   .59 (.84)
=========  ===========  ===========  ===========  ====================================

Where lingua is surer than `SURE`, in 36 to 64 % (81 to 98 %) of the texts, 99 % and more are right; of the names .86 (.96).
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

from workbench.errors import BadInput
from workbench.tasks.cldr import KINDS, alphabets, names
from workbench.words import units

Identifier = Literal["lingua"]
UNDETERMINED, OTHER, EMPTY = NO_LANGUAGE = ("undetermined", "other", "empty")
SURE = 0.7  # the identifier's share of the probability below which nothing is decided
_RARE = 20  # words of a language, of which at least one is in Latin script if that is its own


@dataclass(frozen=True)
class AnswerLanguage:
    """The language of one answer.

    `language` is a candidate's code, "undetermined", "other" (in a script of no candidate) or "empty" (no letters); `by` is the
    step that decided, empty if none did; `among` are the candidates that were left.
    """

    language: str
    by: Literal["script", "words", "identifier", ""]
    among: tuple[str, ...]


def answer_languages(
    answers: Iterable[str],
    candidates: Sequence[str],
    *,
    known: Mapping[str, Iterable[str]] | None = None,
    identifier: Identifier | None = None,
) -> list[AnswerLanguage]:
    """Return the language of each answer, one of at least two candidates where it can be told.

    Args:
        candidates: Codes of all languages that an answer could be in.
        known: Texts, phrases or words by language, as `known_texts` takes them from a source. In a closed world they decide;
            otherwise they do for answers that they contain. Without them, a language's script is that of its names in CLDR.
        identifier: "lingua" to ask it about what script and words leave open; None asks nobody.

    Raises:
        BadInput: fewer than two candidates, one whose script is unknown, or an identifier that is not installed.
    """
    if len(set(candidates)) < 2:
        raise BadInput(f"the candidates are {list(candidates)}; give at least two languages")
    texts = {code: list(dict.fromkeys((known or {}).get(code, ()))) for code in dict.fromkeys(candidates)}
    whole = {code: frozenset(map(_plain, each)) for code, each in texts.items()}
    words = {code: frozenset(word for text in each for word in _words(text)) for code, each in texts.items()}
    scripts = {code: _scripts_of(code, each) for code, each in words.items()}
    return [_identified(answer, scripts, whole, words, identifier) for answer in answers]


def known_texts(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return the texts of rows by language, from the fields `text` and `accepted` (other right forms)."""
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row["language"], []).extend([row["text"], *row.get("accepted", ())])
    return found


def _identified(
    answer: str,
    scripts: Mapping[str, frozenset[str]],
    whole: Mapping[str, frozenset[str]],
    words: Mapping[str, frozenset[str]],
    identifier: Identifier | None,
) -> AnswerLanguage:
    own = _scripts(answer)
    if not own:
        return AnswerLanguage(EMPTY, "", tuple(scripts))
    left = [code for code, written in scripts.items() if (own - {"LATIN"} or own) <= written]
    if len(left) < 2:
        return AnswerLanguage(left[0], "script", tuple(left)) if left else AnswerLanguage(OTHER, "", ())
    known = _by_words(answer, left, whole, words)
    if known:
        return AnswerLanguage(*((known[0], "words") if len(known) == 1 else (UNDETERMINED, "")), tuple(known))
    sure = _by_lingua(answer, left) if identifier else None
    return AnswerLanguage(sure or UNDETERMINED, "identifier" if sure else "", tuple(left))


def _by_words(
    answer: str,
    left: Sequence[str],
    whole: Mapping[str, frozenset[str]],
    words: Mapping[str, frozenset[str]],
) -> list[str]:
    """Return the languages that have the whole answer or all its words; else the one that has more than half and the most."""
    parts, text = _words(answer), _plain(answer)
    for found in (
        [code for code in left if text in whole[code]],
        [code for code in left if words[code].issuperset(parts)],
    ):
        if found:
            return found
    counts = {code: sum(part in words[code] for part in parts) for code in left}
    most = max(counts.values())
    best = [code for code in left if counts[code] == most]
    return best if len(best) == 1 and 2 * most > len(parts) else []


def _by_lingua(answer: str, left: Sequence[str]) -> str | None:
    """Return the language of which lingua is sure; None if it has no models of one of them."""
    detector = _lingua(frozenset(left))
    if detector is None:
        return None
    first = detector.compute_language_confidence_values(answer)[0]
    return first.language.iso_code_639_1.name.lower() if first.value >= SURE else None


@lru_cache(maxsize=64)
def _lingua(codes: frozenset[str]) -> Any:
    """Return a detector of these languages alone, or None if lingua lacks one.

    Raises:
        BadInput: lingua is not installed.
    """
    if find_spec("lingua") is None:
        raise BadInput(
            "identifier='lingua' needs lingua-language-detector: pip install 'workbench[language-id]'; or "
            "identifier=None, which leaves undetermined what script and words do not tell"
        )
    lingua = import_module("lingua")
    of = {one.iso_code_639_1.name.lower(): one for one in lingua.Language.all()}
    if not codes <= of.keys():
        return None
    return lingua.LanguageDetectorBuilder.from_languages(*(of[code] for code in sorted(codes))).build()


def _scripts_of(code: str, words: frozenset[str]) -> frozenset[str]:
    """Return the scripts of a language's words; Latin only if more than a foreign name or two are written in it."""
    own = words or {name.text for kind in KINDS for name in names(code, kind).values()}
    counts = Counter(script for word in own for script in _scripts(word))
    if not counts:
        raise BadInput(f"no words of {code!r} are known, so neither is its script; give some in known=")
    return frozenset(counts) - ({"LATIN"} if counts["LATIN"] * _RARE < len(own) else set())


def _scripts(text: str) -> frozenset[str]:
    """Return the scripts of a text's letters; modifier letters belong to none."""
    letters = (sign for sign in unicodedata.normalize("NFKC", text) if unicodedata.category(sign) != "Lm")
    return frozenset(alphabets("".join(letters)))


def _words(text: str) -> list[str]:
    """Return the words of a text in lower case, without punctuation and numbers."""
    parts = (_plain(unit) for unit in units(text))
    return [part for part in parts if any(sign.isalpha() for sign in part)]


def _plain(text: str) -> str:
    """Return a text in lower case, without signs at either end, and with single spaces."""
    signs = unicodedata.normalize("NFC", " ".join(text.casefold().split()))
    inside = [place for place, sign in enumerate(signs) if unicodedata.category(sign)[0] in "LMN"]
    return signs[inside[0] : inside[-1] + 1] if inside else ""
