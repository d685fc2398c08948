"""Evaluation rows of all tasks, parallel in all languages, and texts for the mixtures, to be translated or continued."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

from miniatures.corpus import without_place
from miniatures.questions import Case, Fields, draw_case, passage, ranked_row
from miniatures.world import CLASSES, PIVOT, Scene, Sentence, World, draw_scene, moods_of


def translation_row(world: World, told: Sequence[Sentence], source: str, target: str) -> Fields:
    """Return a text of one or two sentences and its translation into the target language."""
    names = {"source_language": world.name(source), "target_language": world.name(target)}
    return {**names, "text": world.tell(told, source), "target": world.tell(told, target)}


def draw_text(world: World, rng: random.Random, evaluation: bool) -> tuple[Sentence, ...]:
    """Draw a text to translate: a fact, with or without its place, sometimes with a mood."""
    case = draw_case(world, "translation", rng, evaluation)
    fact = case.fact if rng.random() < 0.5 else without_place(case.fact)
    moods = moods_of(world, fact["person"], case.scene.polarity, evaluation)
    return (fact, rng.choice(moods)) if moods and rng.random() < 0.3 else (fact,)


def evaluation_rows(world: World, task: str, meanings: int, seed: int = 0) -> list[Fields]:
    """Return parallel evaluation rows: the same meanings in all languages, with label and position of the fact asked balanced.

    Raises:
        ValueError: `meanings` is not a multiple of 12, so it cannot be balanced.
    """
    if meanings % 12:
        raise ValueError(f"{meanings} meanings cannot be balanced; take a multiple of 12")
    rng = random.Random(f"evaluation {task} {seed}")
    rows = []
    for number in range(meanings):
        case = draw_case(world, task, rng, evaluation=True)
        while not _balanced(world, task, case, number):
            case = draw_case(world, task, rng, evaluation=True)
        case = replace(case, asked=number // 2 % 2, label=number % 2)
        cluster, told = f"{task}-{number:03d}", draw_text(world, rng, evaluation=True)
        for language in world.languages:
            head = {"id": cluster, "cluster": cluster, "language": language}
            if task != "translation":
                rows.append({**head, **ranked_row(world, task, case, language)})
            elif language != PIVOT:
                rows.append({**head, "id": f"{cluster}-to", **translation_row(world, told, language, PIVOT)})
                rows.append(
                    {**head, "id": f"{cluster}-from", **translation_row(world, told, PIVOT, language)}
                )
    return rows


def _balanced(world: World, task: str, case: Case, number: int) -> bool:
    """Return whether a case fits the balance of those tasks whose label is determined by the scene."""
    if task == "topic":
        return CLASSES.index(world.category[case.fact["object"]]) == number % len(CLASSES)
    return task != "sentiment" or (case.scene.polarity == "negative") == (number % 2 == 1)


def draw_truncated(world: World, rng: random.Random, language: str) -> dict[str, str]:
    """Draw a passage cut inside a sentence, and its continuation."""
    case = draw_case(world, "continuation", rng, False)
    long = rng.random() < 0.6
    text = passage(world, case, language) if long else world.tell(draw_text(world, rng, False), language)
    words = text.split(" ")
    cuts = [place for place in range(1, len(words)) if not words[place - 1].endswith((".", "。"))]
    cut = rng.choice(cuts)
    return {"start": " ".join(words[:cut]), "rest": " ".join(words[cut:])}


def sentence_rows(world: World, count: int, seed: int = 0) -> Iterator[Fields]:
    """Yield single sentences from the evaluation side in all languages, with the attributes of their meaning."""
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
                **attributes(world, meaning, scene),
            }


def attributes(world: World, meaning: Sentence, scene: Scene) -> dict[str, str | None]:
    """Return the attributes of a sentence's meaning; None for those it does not state."""
    slots = {slot: meaning.get(slot) for slot in ("person", "verb", "number", "object", "place", "mood")}
    thing = slots["object"]
    return {
        "kind": meaning.kind,
        **slots,
        "class": world.category[thing] if thing else None,
        "polarity": scene.polarity if meaning.kind == "mood" else None,
    }
