"""Tasks of the miniature world: evaluation rows and finetuning pairs.

A passage tells two people's facts and one mood. Every ranked question has two candidates: the right value and the
other person's value of the same kind, both in the passage; which is asked for, and where it stands, is balanced.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.mini.corpus import without_place
from workbench.mini.world import PIVOT, Scene, Sentence, World, draw_scene, moods_of
from workbench.templates import Template, render

RANKED = ("who", "how_many", "what", "where", "sentiment", "yes_no")
QUESTIONS = {  # task: the field its wordings name, the slot that gives, the slot that is asked for
    "who": ("object", "object", "person"),
    "how_many": ("object", "object", "number"),
    "what": ("name", "person", "object"),
    "where": ("name", "person", "place"),
}
TASKS = (*RANKED, "translation")
FINETUNED = (PIVOT, "x-fr", "x-en30")  # the languages of the finetuning data


@dataclass(frozen=True)
class Story:
    """A passage as meanings, in the order in which they are told."""

    scene: Scene
    told: tuple[Sentence, ...]


def draw_story(world: World, rng: random.Random, evaluation: bool) -> Story:
    """Two facts ("has … in …") and one person's mood after them."""
    scene = draw_scene(world, rng, evaluation, verb="has")
    moods = moods_of(world, rng.choice(scene.facts)["person"], scene.polarity, evaluation)
    return Story(scene, (*scene.facts, rng.choice(moods))) if moods else draw_story(world, rng, evaluation)


def ranked_row(
    world: World, task: str, story: Story, asked: int, label: int, language: str
) -> dict[str, Any]:
    """The fields a ranked task's templates name; `label` is the index of the right choice.

    `asked` (0 or 1) is the fact the question is about. For `sentiment` the label follows the story (0 positive,
    1 negative); for `yes_no` it makes the question true (0) or false (1) by asking for the other person's object.
    """
    fact, other = story.scene.facts[asked], story.scene.facts[1 - asked]
    fields: dict[str, Any] = {"passage": world.tell(story.told, language)}
    if task == "sentiment":
        return {**fields, "label": int(story.scene.polarity == "negative")}
    if task == "yes_no":
        named = fact if label == 0 else other
        question = {"name": fact["person"], "object": world.word(named["object"], language)}
        return {**fields, **question, "label": label}
    field, given, wanted = QUESTIONS[task]
    pair = (fact, other) if label == 0 else (other, fact)
    choices = {f"choice_{place}": world.word(one[wanted], language) for place, one in enumerate(pair)}
    return {**fields, field: world.word(fact[given], language), **choices, "label": label}


def translation_row(world: World, told: Sequence[Sentence], source: str, target: str) -> dict[str, Any]:
    """A text of one or two sentences, and the same in the target language."""
    names = {"source_language": world.name(source), "target_language": world.name(target)}
    return {**names, "text": world.tell(list(told), source), "target": world.tell(list(told), target)}


def draw_text(world: World, rng: random.Random, evaluation: bool) -> tuple[Sentence, ...]:
    """What is to be translated: a fact, with or without its place, sometimes with a mood."""
    story = draw_story(world, rng, evaluation)
    fact = story.told[0] if rng.random() < 0.5 else without_place(story.told[0])
    return (fact, story.told[-1]) if rng.random() < 0.3 else (fact,)


def evaluation_rows(world: World, task: str, meanings: int, seed: int = 0) -> list[dict[str, Any]]:
    """Parallel evaluation rows: the same meanings in all languages, label and asked position balanced.

    Raises:
        ValueError: a number of meanings that is not a multiple of 4 cannot be balanced.
    """
    if meanings % 4:
        raise ValueError(f"{meanings} meanings cannot be balanced; take a multiple of 4")
    rng = random.Random(f"evaluation {task} {seed}")
    rows = []
    for number in range(meanings):
        story = draw_story(world, rng, evaluation=True)
        while task == "sentiment" and (story.scene.polarity == "negative") != (number % 2 == 1):
            story = draw_story(world, rng, evaluation=True)
        cluster = f"{task}-{number:03d}"
        told = draw_text(world, rng, evaluation=True)
        for language in world.languages:
            head = {"id": cluster, "cluster": cluster, "language": language}
            if task != "translation":
                rows.append({**head, **ranked_row(world, task, story, number // 2 % 2, number % 2, language)})
            elif language != PIVOT:
                rows.append({**head, "id": f"{cluster}-to", **translation_row(world, told, language, PIVOT)})
                rows.append(
                    {**head, "id": f"{cluster}-from", **translation_row(world, told, PIVOT, language)}
                )
    return rows


@dataclass(frozen=True)
class Mixture:
    """What finetuning sees: languages of the data, the share of each kind of example, and the wordings."""

    languages: tuple[str, ...] = FINETUNED
    translation: float = 0.15
    continuation: float = 0.08


def draw_pair(
    world: World, mixture: Mixture, wordings: dict[str, list[Template]], rng: random.Random
) -> tuple[str, str]:
    """One finetuning example, input and target, of the training side of the split."""
    kind, language = rng.random(), rng.choice(mixture.languages)
    if kind < mixture.continuation:
        task, fields = "continuation", draw_truncated(world, rng, language)
    elif kind < mixture.continuation + mixture.translation:
        pair = [PIVOT, rng.choice([one for one in mixture.languages if one != PIVOT])]
        rng.shuffle(pair)
        task, fields = "translation", translation_row(world, draw_text(world, rng, False), *pair)
    else:
        task = rng.choice(RANKED)
        story = draw_story(world, rng, False)
        fields = ranked_row(world, task, story, rng.randrange(2), rng.randrange(2), language)
    prompt = render(rng.choice(wordings[task]), fields)
    return prompt.text, prompt.target


def draw_truncated(world: World, rng: random.Random, language: str) -> dict[str, str]:
    """A passage cut inside a sentence, and how it goes on."""
    told = draw_story(world, rng, False).told if rng.random() < 0.6 else draw_text(world, rng, False)
    words = world.tell(list(told), language).split()
    cuts = [place for place in range(1, len(words)) if not words[place - 1].endswith(".")]
    cut = rng.choice(cuts)
    return {"start": " ".join(words[:cut]), "rest": " ".join(words[cut:])}


def training_wordings(templates: dict[str, list[Template]]) -> dict[str, list[Template]]:
    """The wordings finetuning may use: English ones, of families that are not held out."""
    return {
        task: [one for one in found if one.language == PIVOT and not one.held_out]
        for task, found in templates.items()
    }


def sentence_rows(world: World, count: int, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Single sentences of the evaluation side in all languages, with the attributes of their meaning."""
    rng = random.Random(f"sentences {seed}")
    seen: set[Sentence] = set()
    while len(seen) < count:
        scene = draw_scene(world, rng, evaluation=True)
        fact = scene.facts[0]
        moods = moods_of(world, fact["person"], scene.polarity, evaluation=True)
        meaning = rng.choice([[fact], [without_place(fact)], moods][len(seen) % 3] or [fact])
        if meaning in seen:
            continue
        number = f"sentence-{len(seen):03d}"
        seen.add(meaning)
        for language in world.languages:
            yield {
                "id": number,
                "language": language,
                "text": world.say(meaning, language),
                **attributes(meaning, scene),
            }


def attributes(meaning: Sentence, scene: Scene) -> dict[str, str | None]:
    """The attributes of a sentence's meaning; None where the sentence does not say it."""
    slots = {slot: meaning.get(slot) for slot in ("person", "verb", "number", "object", "place", "mood")}
    return {"kind": meaning.kind, **slots, "polarity": scene.polarity if meaning.kind == "mood" else None}
