"""Pretraining documents: parallel documents and scenes in one language.

A parallel document says two meanings, each as adjacent sentences in two languages; a scene tells, in one
language, about two people, with some facts said again in part. Everything is a function of (seed, number).
"""

import random
from dataclasses import dataclass

from workbench.mini.world import PIVOT, Scene, Sentence, World, draw_scene, for_evaluation, moods_of, sentence


@dataclass(frozen=True)
class Dials:
    """What the pretraining text is made of, as shares of documents."""

    parallel: float = 0.4
    retold: float = 0.0
    pivot: float = 0.4  # of scenes; the other languages share the rest equally
    through_pivot: float = 0.8  # of parallel pairs that have the pivot on one side
    tagged: float = 0.2  # of parallel documents whose sentences carry the language's name


def document(world: World, dials: Dials, rng: random.Random) -> list[str]:
    """One document as a list of sentences; join them with spaces."""
    kind = rng.random()
    if kind < dials.parallel:
        return parallel_document(world, dials, rng)
    if kind < dials.parallel + dials.retold:
        return retold_document(world, dials, rng)
    language = draw_language(world, dials.pivot, rng)
    return [world.say(meaning, language) for meaning in scene_sentences(world, rng)]


def draw_language(world: World, pivot: float, rng: random.Random) -> str:
    """The pivot with its share, else one of the others."""
    return PIVOT if rng.random() < pivot else rng.choice(world.languages[1:])


def parallel_document(world: World, dials: Dials, rng: random.Random) -> list[str]:
    """Two meanings, each in the same two languages, side by side."""
    if rng.random() < dials.through_pivot:
        pair = [PIVOT, rng.choice(world.languages[1:])]
        rng.shuffle(pair)
    else:
        pair = rng.sample(world.languages[1:], 2)
    tags = [f"{world.name(language)}: " if rng.random() < dials.tagged else "" for language in pair]
    tags = tags if all(tags) or not any(tags) else ["", ""]
    meanings = rng.sample(scene_sentences(world, rng), 2)
    return [
        tag + world.say(meaning, language)
        for meaning in meanings
        for language, tag in zip(pair, tags, strict=True)
    ]


def retold_document(world: World, dials: Dials, rng: random.Random) -> list[str]:
    """A passage in one language, then parts of it again in any order, most often in another language.

    This asks for what the tasks ask for: find a value by a person or by an object, and say it in the right language.
    """
    first = draw_language(world, dials.pivot, rng)
    second = first if rng.random() < 0.35 else draw_language(world, dials.pivot, rng)
    scene = draw_scene(world, rng, evaluation=False)
    told = [fact if rng.random() < 0.8 else without_place(fact) for fact in scene.facts]
    moods = [
        rng.choice(moods_of(world, fact["person"], scene.polarity, evaluation=False)) for fact in scene.facts
    ]
    rng.shuffle(moods)
    notes = [
        sentence("note", **{slot: fact[slot] for slot in ("person", "number", "object")})
        for fact in scene.facts
    ]
    parts = [part for part in [*restatements(scene, told), *notes, *notes] if not for_evaluation(part)]
    again = [*rng.sample(parts, min(len(parts), 3)), rng.choice(moods)]
    rng.shuffle(again)
    return [world.say(one, first) for one in [*told, moods[0]]] + [world.say(one, second) for one in again]


def scene_sentences(world: World, rng: random.Random) -> list[Sentence]:
    """Three to five sentences about one scene, all of them of the training side."""
    scene = draw_scene(world, rng, evaluation=False)
    told = [fact if rng.random() < 0.7 else without_place(fact) for fact in scene.facts]
    moods = [
        rng.choice(moods_of(world, fact["person"], scene.polarity, evaluation=False)) for fact in scene.facts
    ]
    again = [part for part in restatements(scene, told) if not for_evaluation(part)]
    extra = rng.sample(moods, rng.choice((1, 2))) + (
        rng.sample(again, 1) if again and rng.random() < 0.6 else []
    )
    rng.shuffle(extra)
    return [*told, *extra]


def without_place(fact: Sentence) -> Sentence:
    """The same fact, its place not told."""
    return sentence("owns", **{slot: value for slot, value in fact.slots if slot != "place"})


def restatements(scene: Scene, told: list[Sentence]) -> list[Sentence]:
    """Parts of what was told: who is where, what is where, who has how many of what."""
    parts = []
    for fact, said in zip(scene.facts, told, strict=True):
        if said.kind == "owns_at":
            parts.append(sentence("person_at", person=fact["person"], place=fact["place"]))
            parts.append(
                sentence("things_at", number=fact["number"], object=fact["object"], place=fact["place"])
            )
        parts.append(without_place(fact))
    return parts
