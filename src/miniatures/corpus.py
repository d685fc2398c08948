"""Pretraining documents: parallel documents, lists, scenes and rolls, whose later sentences partly restate earlier ones.

A parallel document states meanings, each as adjacent sentences in two languages. A list is stated twice. A scene states
two people's facts and then restates parts of them in other forms, in the same language or another: to continue it, a model
must find a value by a person, by an object or by a place. A roll does so with the facts of more people, so that few values
can be found by excluding those already restated. Everything is a function of the random state alone.
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
    """The composition of the pretraining text, as shares."""

    parallel: float = 0.4  # of documents; the rest, neither parallel nor list nor roll, are scenes
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
    notes: float = 0.3  # of scenes and rolls: the facts are stated as notes
    pairs: float = 0.0  # of a roll's restatements: a name or thing and one value of its fact
    registers: float = 0.0  # of rolls: all restatements are pairs of one kind, in another order
    place: float = 0.5  # of other facts: the place is stated too
    meanings: int = 2  # of a parallel document, each stated in both languages
    again: int = 5  # maximum of a scene's sentences after its facts; the minimum is 2


@dataclass(frozen=True)
class Document:
    """The pieces of a text in order, each a sentence with the text that joins it to the previous one."""

    pieces: tuple[str, ...]
    told: int  # the number of initial pieces; later ones restate them
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
    """Draw the pivot with its share, else one of the other languages."""
    return PIVOT if rng.random() < pivot else rng.choice(world.languages[1:])


def parallel_document(world: World, dials: Dials, rng: random.Random, own_names: bool = False) -> Document:
    """Draw a document of `dials.meanings` meanings, each stated in the same two languages, side by side."""
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
    """Draw two facts, then 2 to `dials.again` sentences that restate parts of them or the moods of the two people."""
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
    """Draw a list of words and state it twice, the second time in the same order (70 %) or backwards."""
    language = draw_language(world, dials.pivot, rng)
    words = [*rng.sample(world.objects, 3), *rng.sample(world.ids("person"), 2), *rng.sample(NUMBERS, 2)]
    chosen = rng.sample(words, rng.randint(3, 6))
    again = chosen if rng.random() < 0.7 else chosen[::-1]
    first, second = (world.list(one, language) + world.stop(language) for one in (chosen, again))
    return Document((first, world.join(["", second], language)), told=1, is_list=True)


def roll_document(world: World, dials: Dials, rng: random.Random, own_names: bool = False) -> Document:
    """Draw three to five people's facts, restated in another order: up to four in another form or language, or as a register."""
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
    """Return each meaning in its language, with the text that joins it to the previous one."""
    pieces: list[str] = []
    for place, (meaning, language) in enumerate(zip(meanings, languages, strict=True)):
        join = world.join(["", ""], language) if place and languages[place - 1] == language else " "
        pieces.append((join if place else "") + world.say(meaning, language, own_names))
    return tuple(pieces)


def _in_another_form(fact: Sentence, dials: Dials, rng: random.Random) -> Sentence:
    """Return a pair, a note, or a part of the fact that a note does not state: who or what is where, who has what."""
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
    """Pair a name or a thing with one value of its fact."""
    key = rng.choice(("person", "object"))
    values = [slot for slot, _ in fact.slots if slot not in (key, "verb")]
    if "place" in values and for_evaluation(_person_at(fact)):
        values.remove("place")
    return sentence("pair", key=fact[key], value=fact[rng.choice(values)])


def _register(facts: Sequence[Sentence], rng: random.Random) -> list[Sentence]:
    """Return one pair per fact, of the same kind: each person, or each thing, with the same slot of its fact."""
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
    """Return the fact without its place."""
    return sentence("owns", **{slot: value for slot, value in fact.slots if slot != "place"})


def note(fact: Sentence) -> Sentence:
    """Return the fact as a note: thing, number, person."""
    return sentence("note", **{slot: fact[slot] for slot in ("person", "number", "object")})


def _again(
    world: World, scene: Scene, told: tuple[Sentence, ...] | list[Sentence], rng: random.Random
) -> list[Sentence]:
    """Return everything a scene can say after its facts, in random order; the moods of a scene share its polarity."""
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
    groups += [moods, moods[::-1]]  # adjacent, so that their association can be learned
    rng.shuffle(groups)
    return [part for group in groups for part in group if not for_evaluation(part)]


def class_of(world: World, thing: str, rng: random.Random) -> Sentence:
    """Return a sentence that names an object, another of its class, and the class."""
    kind = world.category[thing]
    other = rng.choice([one for one in world.ids(kind) if one != thing])
    return sentence("kinds", **{"class": kind, "object": thing, "other": other})
