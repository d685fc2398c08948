"""Words with one meaning in several languages, the prompts that ask for their translation, and closed sets of answers.

An intervention is judged by what a model answers of a closed set: the same sentence with each of a few concepts, in each of a
few languages. The probabilities of the whole answers (sums of log-probabilities, in nats) are normalised over that set, so that
P(concept) and P(language) are sums over its other dimension.
"""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from workbench.errors import BadInput
from workbench.family import family_with_data, find_language
from workbench.inference.scoring import score
from workbench.models import Model
from workbench.prompts import Template, render
from workbench.tasks import read_data, read_texts

_SLOT = "{}"
_FRAMES, _WORDS = (
    "translation",
    "what",
)  # tasks of a family: parallel texts, and parallel words among the choices
_ALONE = Template("labelled", "{{source_language}}: {{text}}\n{{target_language}}: ||| {{target}}")
_LANGUAGES = ("en", "fr", "de", "zh", "sw")


@dataclass(frozen=True)
class Prompt:
    """A prompt, and where in it the concept's word stands (characters, as in a slice)."""

    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Concepts:
    """C words in K languages, sentences that hold them, and a wording that asks to translate such a sentence.

    `words[concept][language]` is a word; `frames[meaning][language]` a sentence with `{}` in its place, or `{}` alone; `names` are
    those of the languages in prompts. A set of candidate answers has the same frame.
    """

    words: Mapping[str, Mapping[str, str]]
    frames: Mapping[str, Mapping[str, str]]
    names: Mapping[str, str]
    template: Template
    source: str

    @property
    def languages(self) -> tuple[str, ...]:
        """The codes of the languages."""
        return tuple(self.names)

    def text(self, frame: str, concept: str, language: str) -> str:
        """Return the sentence with a concept, in a language."""
        return "".join(self.parts(frame, concept, language))

    def parts(self, frame: str, concept: str, language: str) -> tuple[str, str, str]:
        """Return what precedes the concept's word in its sentence, the word, and what follows it."""
        before, _, after = self.frames[frame][language].partition(_SLOT)
        return before, self.words[concept][language], after

    def prompt(self, frame: str, concept: str, source: str, target: str) -> Prompt:
        """Return the prompt that asks to translate the sentence from one language to another."""
        text = self.text(frame, concept, source)
        fields = {"source_language": self.names[source], "target_language": self.names[target]}
        row = {**fields, "text": text, "target": self.text(frame, concept, target), "language": source}
        found = render(self.template, row)
        assert found is not None  # the wordings of translations skip no row
        start = found.text.rindex(text) + self.frames[frame][source].index(_SLOT)
        return Prompt(found.text, start, start + len(self.words[concept][source]))

    def candidates(
        self, frame: str, concepts: Sequence[str], languages: Sequence[str] = ()
    ) -> list[list[str]]:
        """Return the answers with each concept (rows), in each language (columns; by default all)."""
        return [[self.text(frame, one, code) for code in languages or self.languages] for one in concepts]

    def without(self, asked: "Concepts") -> "Concepts":
        """Return the sentences that `asked` does not hold or, where all are the same, the concepts: to fit on what is not asked about."""
        frames = {key: one for key, one in self.frames.items() if key not in asked.frames}
        if frames:
            return replace(self, frames=frames)
        return replace(self, words={key: one for key, one in self.words.items() if key not in asked.words})


def read_concepts(
    source: str,
    languages: Sequence[str] = (),
    *,
    template: str | Template | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> Concepts:
    """Return the concepts of a source: "lexicon" (names of countries and languages), a family's words in its translations, or any other
    parallel texts, such as "parallel", each whole text being a concept.

    Concepts are left out whose candidate answers coincide in two of the languages.

    Args:
        languages: Two or more; by default those of a family that its finetuning contains, or en, fr, de, zh, sw.
        template: The wording of the request, or the name of one of the family's; by default a family's first one, or for the
            others "English: Germany, French:" on two lines.
        limit: Concepts at most, and sentences of a family.
        seed: Of the draw of concepts outside families.

    Raises:
        BadInput: fewer than three concepts, or no sentence.
        UnknownName: no such source, language or template.
    """
    family = family_with_data(source)
    if family is None:
        found = _of_texts(source, languages or _LANGUAGES, template, limit, seed)
    else:
        found = _of_family(source, languages or (*family.finetuned,), template, limit)
    return _distinct(found)


def _of_texts(
    source: str, languages: Sequence[str], template: str | Template | None, limit: int | None, seed: int
) -> Concepts:
    rows = read_texts(source, languages=languages, shared=True).rows
    words: dict[str, dict[str, str]] = {}
    for row in rows:
        if source != "lexicon" or row["kind"] in ("country", "language"):
            words.setdefault(row["id"], {})[row["language"]] = row["text"]
    drawn = random.Random(f"concepts {seed}").sample(sorted(words), len(words))
    names = {row["language"]: row.get("language_name") or find_language(row["language"]).name for row in rows}
    kept = {key: words[key] for key in drawn if len({*words[key].values()}) == len(languages)}
    return Concepts(
        dict(list(kept.items())[:limit]),
        {"word": dict.fromkeys(languages, _SLOT)},
        {code: names[code] for code in languages},
        template if isinstance(template, Template) else _ALONE,
        source,
    )


def _of_family(
    source: str, languages: Sequence[str], template: str | Template | None, limit: int | None
) -> Concepts:
    data = read_data(_FRAMES, source)
    texts, names = _parallel_texts(data.rows, data.english)
    words = _parallel_words(source, languages)
    frames = {}
    for meaning, by_language in texts.items():
        found = _frame({code: by_language[code] for code in languages}, words)
        if found is not None:
            frames[meaning] = found
    shortest = sorted(frames, key=lambda one: (len(frames[one][languages[0]]), one))[:limit]
    wording = template
    if not isinstance(wording, Template):
        named = {one.name: one for one in data.templates}
        if template is not None and template not in named:
            raise BadInput(f"no wording {template!r} of translations; choose one of: {', '.join(named)}")
        wording = named[str(template)] if template else data.templates[0]
    kept = {meaning: frames[meaning] for meaning in sorted(shortest)}
    return Concepts(words, kept, {code: names[code] for code in languages}, wording, source)


def _parallel_texts(
    rows: Sequence[Mapping[str, str]], english: str
) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """Return the texts of translations by meaning and language, and the languages' names in prompts."""
    texts: dict[str, dict[str, str]] = {}
    names: dict[str, str] = {}
    for row in rows:
        is_into = row["id"].endswith("-to")  # into English
        own, other = (row["text"], row["target"]) if is_into else (row["target"], row["text"])
        texts.setdefault(row["cluster"], {}).update({row["language"]: own, english: other})
        name, of_english = ("source_language", "target_language")[:: 1 if is_into else -1]
        names |= {row["language"]: row[name], english: row[of_english]}
    return texts, names


def _parallel_words(source: str, languages: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the right choices of a family's questions, by their text in the first language and by language."""
    data = read_data(_WORDS, source, languages=languages)
    by_meaning: dict[str, dict[str, str]] = {}
    for item in data.items(data.templates[:1]):
        by_meaning.setdefault(item.cluster, {})[item.language] = item.target
    whole = [one for one in by_meaning.values() if len(one) == len(languages)]
    return {one[languages[0]]: one for one in sorted(whole, key=lambda one: one[languages[0]])}


def _frame(texts: Mapping[str, str], words: Mapping[str, Mapping[str, str]]) -> dict[str, str] | None:
    """Return the texts with `{}` in place of the one concept that all of them name once; None if there is none."""
    for word in words.values():
        parts = {
            code: re.split(rf"(?<!\w){re.escape(word[code])}(?!\w)", text) for code, text in texts.items()
        }
        if any(len(found) != 2 for found in parts.values()):
            parts = {
                code: text.split(word[code]) for code, text in texts.items()
            }  # without spaces between words
        if all(len(found) == 2 for found in parts.values()):
            return {code: _SLOT.join(found) for code, found in parts.items()}
    return None


def _distinct(found: Concepts) -> Concepts:
    """Leave out concepts whose answers in two languages are the same text."""
    kept = {
        concept: word
        for concept, word in found.words.items()
        if all(
            len({*found.candidates(frame, [concept])[0]}) == len(found.languages) for frame in found.frames
        )
    }
    if len(kept) < 3 or not found.frames:
        raise BadInput(
            f"{found.source} has {len(kept)} concepts that differ in {', '.join(found.languages)}, and {len(found.frames)} sentences "
            "for them; three concepts and a sentence are needed: name other languages"
        )
    return Concepts(MappingProxyType(kept), found.frames, found.names, found.template, found.source)


def answer_scores(
    model: Model, prompts: Sequence[str], candidates: Sequence[Sequence[Sequence[str]]]
) -> np.ndarray:
    """Return log P of each candidate given its prompt, in nats, shape (N, C, K): the sum over its tokens, without the end token.

    Args:
        candidates: For each of the N prompts, the same number C of concepts in K languages, exactly as they are scored: BLOOM's
            begin with a space where one belongs.

    Raises:
        BadInput, NotReachable, StoreFailed: as `score`.
    """
    shape = np.shape(candidates)
    texts = [text for grid in candidates for line in grid for text in line]
    asked = [prompt for prompt, grid in zip(prompts, candidates, strict=True) for _ in range(np.size(grid))]
    found = score(model, texts, prompts=asked, progress=False)
    sums = [sum(logprob for logprob in one.logprobs if logprob is not None) for one in found]
    return np.array(sums).reshape(shape)


def normalised(scores: np.ndarray) -> np.ndarray:
    """Return log-probabilities within each set (the last two dimensions)."""
    return scores - log_sum(scores, (-2, -1))[..., None, None]


def log_sum(values: np.ndarray, axis: int | tuple[int, ...]) -> np.ndarray:
    """Return log Σ exp over some dimensions."""
    top = values.max(axis=axis, keepdims=True)
    return np.log(np.exp(values - top).sum(axis=axis)) + np.squeeze(top, axis=axis)


def token_places(model: Model, prompts: Sequence[Prompt]) -> list[tuple[int, ...]]:
    """Return the places of the tokens of each prompt's concept.

    They are found by the number of tokens before the word, and up to its end; the tokens of a text are those that `score`
    names, so that a stored study needs no tokenizer.

    Raises:
        BadInput: a prompt whose tokens up to the word's end are not the first tokens of the whole, so that they have no place.
    """
    space = "x "  # a text must not be empty
    texts = [
        part
        for one in prompts
        for part in (one.text, one.text[: one.end], one.text[: one.start].rstrip() or space)
    ]
    found = [one.tokens for one in score(model, texts, progress=False)]
    places = []
    for number, prompt in enumerate(prompts):
        whole, through, before = found[3 * number : 3 * number + 3]
        first = len(before) if prompt.text[: prompt.start].strip() else 0
        if whole[: len(through)] != through or first >= len(through):
            raise BadInput(
                f"the tokens of {prompt.text[: prompt.end]!r} are not the first ones of the whole prompt; use a wording in which a "
                "space or a line's end follows the text"
            )
        places.append(tuple(range(first, len(through))))
    return places
