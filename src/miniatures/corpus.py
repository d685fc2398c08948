"""Pretraining documents: parallel documents, and scenes that say in part again what they told.

A parallel document says meanings, each as adjacent sentences in two languages. A list is said twice. A scene tells two
people's facts and then says parts of them again in other forms, in the same language or another: to go on, one must
find a value by a person, by an object or by a place. A roll does so with the facts of more people, so that few values
can be found by leaving out those that were said already. Everything is a function of the random state alone.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from miniatures.world import (
    NUMBERS,
    PIVOT,
    Scene,
    Sentence,
    World,
    draw_facts,
    draw_scene,
    for_evaluation,
    moods_of,
    sentence,
)


@dataclass(frozen=True)
class Dials:
    """What the pretraining text is made of, as shares."""

    parallel: float = 0.4  # of documents; what is neither parallel nor a list nor a roll is a scene
    lists: float = 0.1  # of documents
    rolls: float = 0.0  # of documents: three to five people's facts, then some of them again in another order
    pivot: float = 0.45  # of all but parallel documents; the other languages share the rest equally
    retold: float = 0.25  # of scenes and rolls: the second half is in another language
    switched: float = 0.0  # of scenes: every other sentence is in another language
    through_pivot: float = 0.8  # of parallel documents: the pivot is one of the two languages
    tagged: float = 0.2  # of parallel documents: sentences carry the language's name
    shared_names: float = (
        1.0  # of documents: names are the same in all languages; else each language has its own
    )
    notes: float = 0.3  # of scenes and rolls: the facts are told as notes
    pairs: float = 0.0  # of what a roll says again: a name or thing and what goes with it
    registers: float = 0.0  # of rolls: what is said again is one kind of pair for everybody, in another order
    place: float = 0.5  # of other facts: the place is told too
    meanings: int = 2  # of a parallel document, each said in both languages
    again: int = 5  # at most so many sentences of a scene after its facts; at least 2


@dataclass(frozen=True)
class Document:
    """The pieces of a text in order, each a sentence with what joins it to those before."""

    pieces: tuple[str, ...]
    told: int  # how many of the first pieces say something for the first time
    is_list: bool = False

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.pieces)


def document(world: World, dials: Dials, rng: random.Random) -> Document:
    """Draw one document of the training side of the split."""
    own_names = rng.random() >= dials.shared_names
    kind = rng.random()
    if kind < dials.parallel:
        return parallel_document(world, dials, rng, own_names)
    if kind < dials.parallel + dials.lists:
        return list_document(world, dials, rng)
    if kind < dials.parallel + dials.lists + dials.rolls:
        return roll_document(world, dials, rng, own_names)
    return scene_document(world, dials, rng, own_names)


def draw_language(world: World, pivot: float, rng: random.Random) -> str:
    """The pivot with its share, else one of the others."""
    return PIVOT if rng.random() < pivot else rng.choice(world.languages[1:])


def parallel_document(world: World, dials: Dials, rng: random.Random, own_names: bool = False) -> Document:
    """Two meanings, each in the same two languages, side by side."""
    if rng.random() < dials.through_pivot:
        pair = [PIVOT, rng.choice(world.languages[1:])]
        rng.shuffle(pair)
    else:
        pair = rng.sample(world.languages[1:], 2)
    tags = [f"{world.name(language)}: " if rng.random() < dials.tagged else "" for language in pair]
    tags = tags if all(tags) else ["", ""]
    scene = draw_scene(world, rng, evaluation=False)
    told = _told(scene.facts, dials, rng)
    meanings = rng.sample([*told, *_again(world, scene, told, rng)], dials.meanings)
    said = [
        tag + world.say(meaning, language, own_names)
        for meaning in meanings
        for language, tag in zip(pair, tags, strict=True)
    ]
    return Document((said[0], *(f" {one}" for one in said[1:])), told=1)


def scene_document(world: World, dials: Dials, rng: random.Random, own_names: bool = False) -> Document:
    """Two facts, then three to five sentences that say parts of them again or tell how the two people feel."""
    first = second = draw_language(world, dials.pivot, rng)
    kind = rng.random()
    if kind < dials.retold + dials.switched:
        second = rng.choice([one for one in world.languages if one != first])
    scene = draw_scene(world, rng, evaluation=False)
    told = _told(scene.facts, dials, rng)
    again = _again(world, scene, told, rng)[: rng.randint(2, dials.again)]
    languages = [first] * len(told) + [second] * len(again)
    if dials.retold <= kind < dials.retold + dials.switched:
        languages = [(first, second)[place % 2] for place in range(len(told) + len(again))]
    return Document(_say(world, [*told, *again], languages, own_names), told=len(told))


def list_document(world: World, dials: Dials, rng: random.Random) -> Document:
    """A list of words said twice, the second time most often in the same order, else backwards."""
    language = draw_language(world, dials.pivot, rng)
    words = [*rng.sample(world.objects, 3), *rng.sample(world.ids("person"), 2), *rng.sample(NUMBERS, 2)]
    chosen = rng.sample(words, rng.randint(3, 6))
    again = chosen if rng.random() < 0.7 else chosen[::-1]
    first, second = (world.list(one, language) + world.stop(language) for one in (chosen, again))
    return Document((first, world.join(["", second], language)), told=1, is_list=True)


def roll_document(world: World, dials: Dials, rng: random.Random, own_names: bool = False) -> Document:
    """Three to five people's facts, and again in another order: up to four in another form or language, or a register."""
    first = second = draw_language(world, dials.pivot, rng)
    if rng.random() < dials.retold:
        second = rng.choice([one for one in world.languages if one != first])
    told = _told(draw_facts(world, rng, rng.randint(3, 5), evaluation=False), dials, rng)
    if dials.registers and rng.random() < dials.registers:
        again = _register(told, rng)
    else:
        again = [_in_another_form(fact, dials, rng) for fact in rng.sample(told, min(len(told), 4))]
    languages = [first] * len(told) + [second] * len(again)
    return Document(_say(world, [*told, *again], languages, own_names), told=len(told))


def _say(
    world: World, meanings: Sequence[Sentence], languages: Sequence[str], own_names: bool
) -> tuple[str, ...]:
    """Each meaning in its language, with what joins it to the one before."""
    pieces: list[str] = []
    for place, (meaning, language) in enumerate(zip(meanings, languages, strict=True)):
        join = world.join(["", ""], language) if place and languages[place - 1] == language else " "
        pieces.append((join if place else "") + world.say(meaning, language, own_names))
    return tuple(pieces)


def _in_another_form(fact: Sentence, dials: Dials, rng: random.Random) -> Sentence:
    """A pair, a note, or what a note does not say: where somebody or something is, who has what."""
    if rng.random() < dials.pairs:
        return _pair(fact, rng)
    forms = [note(fact)]
    if fact.get("place"):
        forms.append(_person_at(fact))
        forms.append(sentence("things_at", **{slot: fact[slot] for slot in ("number", "object", "place")}))
    else:
        forms.append(sentence("owns", verb="has", **dict(note(fact).slots)))
    return rng.choice([form for form in forms if not for_evaluation(form)])


def _pair(fact: Sentence, rng: random.Random) -> Sentence:
    """A name or a thing, and what its fact says of it."""
    key = rng.choice(("person", "object"))
    values = [slot for slot, _ in fact.slots if slot not in (key, "verb")]
    if "place" in values and for_evaluation(_person_at(fact)):
        values.remove("place")
    return sentence("pair", key=fact[key], value=fact[rng.choice(values)])


def _register(facts: Sequence[Sentence], rng: random.Random) -> list[Sentence]:
    """One thing asked of everybody: each person, or each thing, with the same slot of its fact."""
    key = rng.choice(("person", "person", "object"))
    slot = rng.choice([one for one in ("person", "number", "object") if one != key])
    return [sentence("pair", key=fact[key], value=fact[slot]) for fact in rng.sample(facts, len(facts))]


def _person_at(fact: Sentence) -> Sentence:
    return sentence("person_at", person=fact["person"], place=fact["place"])


def _told(facts: Sequence[Sentence], dials: Dials, rng: random.Random) -> list[Sentence]:
    if rng.random() < dials.notes:
        return [note(fact) for fact in facts]
    return [fact if rng.random() < dials.place else without_place(fact) for fact in facts]


def without_place(fact: Sentence) -> Sentence:
    """The same fact, its place not told."""
    return sentence("owns", **{slot: value for slot, value in fact.slots if slot != "place"})


def note(fact: Sentence) -> Sentence:
    """The same fact as a note: thing, number, person."""
    return sentence("note", **{slot: fact[slot] for slot in ("person", "number", "object")})


def _again(
    world: World, scene: Scene, told: tuple[Sentence, ...] | list[Sentence], rng: random.Random
) -> list[Sentence]:
    """Everything a scene can say after its facts, in random order; the moods of a scene share its polarity."""
    groups: list[list[Sentence]] = []
    moods: list[Sentence] = []
    for fact, said in zip(scene.facts, told, strict=True):
        mood = rng.choice(moods_of(world, fact["person"], scene.polarity, evaluation=False))
        owned = {slot: fact[slot] for slot in ("person", "number", "object")}
        owner = sentence("owner", **owned, mood=mood["mood"])
        groups += [[note(fact)], [without_place(fact)], [owner, mood]]
        groups += [[class_of(world, fact["object"], rng)]]
        moods.append(mood)
        if said.kind == "owns_at":
            groups.append([_person_at(fact)])
            groups.append(
                [sentence("things_at", number=fact["number"], object=fact["object"], place=fact["place"])]
            )
    groups += [moods, moods[::-1]]  # side by side, so that what goes with what can be learned
    rng.shuffle(groups)
    return [part for group in groups for part in group if not for_evaluation(part)]


def class_of(world: World, thing: str, rng: random.Random) -> Sentence:
    """An object and another of its class, with the name of the class."""
    kind = world.category[thing]
    other = rng.choice([one for one in world.ids(kind) if one != thing])
    return sentence("kinds", **{"class": kind, "object": thing, "other": other})
