"""The closed world: meanings, and their sentences in each miniature language.

A `Sentence` is a kind and its slots, independent of language; `World.say` renders it exactly in every language from
`lexicon.csv` and `constructions.toml`. Meanings are split permanently: about one in ten is kept for evaluation, and
no training document, in any language, contains it.
"""

import csv
import hashlib
import random
import string
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from workbench.errors import BadInput, UnknownName
from workbench.paths import data_path

PIVOT = "x-en"
NUMBERS = tuple("23456789")
CLASSES = ("food", "containers", "toys")  # of objects; each is a word of the lexicon too
CATEGORIES = ("person", "class", *CLASSES, "place", "verb", "positive", "negative")
KINDS = ("owns", "owns_at", "things_at", "person_at", "note", "mood", "owner", "kinds", "pair")
PHRASES = ("title",)
EVALUATION_SHARE = {"mood": 4}  # kind: one meaning in this many is kept for evaluation; moods are few
EVALUATION_SHARE_ELSE = 10
IDENTITY = {  # the slots that define a meaning: sentences equal in them are on one side of the split
    "owns": ("person", "number", "object"),
    "owns_at": ("person", "number", "object"),
    "note": ("person", "number", "object"),
    "owner": ("person", "number", "object"),
    "things_at": ("number", "object", "place"),
    "person_at": ("person", "place"),
    "mood": ("person", "mood"),
    "list": ("objects",),
}


@dataclass(frozen=True)
class Sentence:
    """One meaning: the kind of statement, and a lexicon id (or digit) per slot."""

    kind: str
    slots: tuple[tuple[str, str], ...]

    def __getitem__(self, slot: str) -> str:
        return dict(self.slots)[slot]

    def get(self, slot: str) -> str | None:
        """Return the value of a slot, or None if this kind lacks it."""
        return dict(self.slots).get(slot)


def sentence(kind: str, **slots: str) -> Sentence:
    """Make a sentence, e.g. `sentence("mood", person="Anna", mood="smiles")`."""
    return Sentence(kind, tuple(sorted(slots.items())))


@lru_cache(maxsize=200_000)
def for_evaluation(meaning: Sentence) -> bool:
    """Return whether this meaning belongs to evaluation (a fixed function of the meaning alone)."""
    if meaning.kind not in IDENTITY:  # class membership is word knowledge, and occurs in all texts
        return False
    slots = dict(meaning.slots)
    values = [slots[slot] for slot in IDENTITY[meaning.kind]]
    group = "owns" if meaning.kind in ("owns_at", "note", "owner") else meaning.kind
    digest = hashlib.sha256("|".join([group, *values]).encode()).digest()
    return int.from_bytes(digest[:4]) % EVALUATION_SHARE.get(group, EVALUATION_SHARE_ELSE) == 0


@dataclass(frozen=True)
class World:
    """The lexicon and the constructions of all languages; `words[id][language]`."""

    words: Mapping[str, Mapping[str, str]]
    category: Mapping[str, str]
    constructions: Mapping[str, Mapping[str, str]]

    @cached_property
    def languages(self) -> tuple[str, ...]:
        """Language codes, the pivot first."""
        return tuple(self.constructions)

    def name(self, language: str) -> str:
        """Return the name of a language in prompts, e.g. French for `x-fr`."""
        return self._of(language)["name"]

    def ids(self, *categories: str) -> tuple[str, ...]:
        """Return the lexicon ids of some categories, in file order."""
        return tuple(key for key, category in self.category.items() if category in categories)

    @cached_property
    def objects(self) -> tuple[str, ...]:
        """The lexicon ids of all objects."""
        return self.ids(*CLASSES)

    def word(self, key: str, language: str) -> str:
        """Return the word for a lexicon id (or a digit) in a language."""
        return self.words[key][language] if key in self.words else key

    def own_name(self, person: str, language: str) -> str:
        """Return a language-specific name for a person, for texts in which names are not anchors."""
        rng = random.Random(f"{person} {language}")
        return "".join(rng.choice("bdfgklmnprst") + rng.choice("aeiou") for _ in range(3)).capitalize()

    def say(self, meaning: Sentence, language: str, own_names: bool = False) -> str:
        """Render one meaning in one language, with its full stop.

        With `own_names`, people have different names in every language.

        Raises:
            UnknownName: a language the world does not have.
        """
        construction = self._of(language)[meaning.kind]
        own = {key for _, key in meaning.slots if own_names and self.category.get(key) == "person"}
        return construction.format_map(
            {
                slot: self.own_name(value, language) if value in own else self.word(value, language)
                for slot, value in meaning.slots
            }
        )

    def tell(self, meanings: Sequence[Sentence], language: str) -> str:
        """Render several meanings one after the other."""
        return self.join([self.say(meaning, language) for meaning in meanings], language)

    def join(self, sentences: Sequence[str], language: str) -> str:
        """Join sentences of a language (in Chinese without a space)."""
        return self._of(language)["join"].join(sentences)

    def stop(self, language: str) -> str:
        """Return the mark that ends a sentence."""
        return self._of(language)["mood"][-1]

    def list(self, things: Sequence[str], language: str) -> str:
        """Render a list of things in a language."""
        return self._of(language)["list"].join(self.word(thing, language) for thing in things)

    def _of(self, language: str) -> Mapping[str, str]:
        if language not in self.constructions:
            raise UnknownName(
                f"the miniature world has no language {language!r}; it has {', '.join(self.constructions)}"
            )
        return self.constructions[language]


def read_world(folder: Path | None = None) -> World:
    """Read `lexicon.csv` and `constructions.toml` from a folder (by default the shipped `data/mini`).

    Raises:
        BadInput: a missing word, or an unknown or duplicate category, slot, kind or id; the message names the file and place.
    """
    folder = folder or data_path("mini")
    constructions = _read_constructions(folder / "constructions.toml")
    words, category = _read_lexicon(folder / "lexicon.csv", tuple(constructions))
    return World(words, category, constructions)


def _read_constructions(path: Path) -> dict[str, dict[str, str]]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise BadInput(f"{path} cannot be read as TOML: {error}") from error
    if PIVOT not in tables:
        raise BadInput(f"{path} lacks the pivot language [{PIVOT}]; it has {', '.join(tables)}")
    for language, table in [(PIVOT, tables[PIVOT]), *tables.items()]:
        for kind in ("name", "join", "list", *KINDS, *PHRASES):
            if kind not in table or (kind != "join" and not table[kind]):
                raise BadInput(
                    f"{path}: [{language}] lacks {kind!r}; "
                    f"every language needs name, join, list, {', '.join((*KINDS, *PHRASES))}"
                )
        for kind in (*KINDS, *PHRASES):
            slots, known = _slots(table[kind]), _slots(tables[PIVOT][kind])
            if slots != known:
                raise BadInput(
                    f"{path}: [{language}] {kind} uses the slots {sorted(slots)}, [{PIVOT}] {sorted(known)}"
                )
    return tables


def _slots(construction: str) -> set[str]:
    return {field for _, field, _, _ in string.Formatter().parse(construction) if field}


def _read_lexicon(path: Path, languages: tuple[str, ...]) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    words: dict[str, dict[str, str]] = {}
    category: dict[str, str] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            key = row.get("id") or ""
            missing = [name for name in ("id", "category", *languages) if not (row.get(name) or "").strip()]
            if missing:
                raise BadInput(
                    f"{path}, row {number} ({key or 'no id'}): no word for {missing[0]}; fill it in or delete the row"
                )
            if row["category"] not in CATEGORIES:
                raise BadInput(
                    f"{path}, row {number} ({key}): category {row['category']!r}; known: {', '.join(CATEGORIES)}"
                )
            if key in words:
                raise BadInput(
                    f"{path}, row {number}: the id {key!r} is there twice; give the second another id"
                )
            words[key] = {language: row[language].strip() for language in languages}
            category[key] = row["category"]
    return words, category


@dataclass(frozen=True)
class Scene:
    """Two people, their two facts (different in every slot but the verb), and the polarity that all moods of the scene share."""

    facts: tuple[Sentence, Sentence]
    polarity: str


def draw_facts(
    world: World, rng: random.Random, count: int, evaluation: bool, verb: str | None = None
) -> list[Sentence]:
    """Draw one fact each for `count` people, different in every slot but the verb, all from evaluation or all from training."""
    while True:
        people, objects = rng.sample(world.ids("person"), count), rng.sample(world.objects, count)
        numbers, places = rng.sample(NUMBERS, count), rng.sample(world.ids("place"), count)
        verbs = [verb or rng.choice(world.ids("verb")) for _ in people]
        facts = [
            sentence("owns_at", person=person, verb=action, number=number, object=thing, place=place)
            for person, action, number, thing, place in zip(
                people, verbs, numbers, objects, places, strict=True
            )
        ]
        if all(for_evaluation(fact) == evaluation for fact in facts):
            return facts


def draw_scene(world: World, rng: random.Random, evaluation: bool, verb: str | None = None) -> Scene:
    """Draw a scene whose two facts are both from evaluation, or both from training."""
    first, second = draw_facts(world, rng, 2, evaluation, verb)
    return Scene((first, second), rng.choice(("positive", "negative")))


def moods_of(world: World, person: str, polarity: str, evaluation: bool) -> list[Sentence]:
    """Return the moods of a person with this polarity on one side of the split (few or none on the evaluation side)."""
    moods = [sentence("mood", person=person, mood=mood) for mood in world.ids(polarity)]
    return [mood for mood in moods if for_evaluation(mood) == evaluation]
