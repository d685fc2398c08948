"""Tasks of the miniature world: the rows their wordings are filled with.

A passage tells two people's facts. Every question about a fact has two candidates: the right value and the other
person's value of the same kind, both in the passage; which is asked for, and where it stands, is balanced. Three
tasks (`HELD_OUT`) are in no finetuning mixture.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from workbench.mini.corpus import note, without_place
from workbench.mini.world import (
    CLASSES,
    NUMBERS,
    PIVOT,
    Scene,
    Sentence,
    World,
    draw_scene,
    for_evaluation,
    moods_of,
    sentence,
)

QUESTIONS = {  # task: the field its wordings name, the slot that gives, the slot that is asked for
    "who": ("object", "object", "person"),
    "how_many": ("object", "object", "number"),
    "what": ("name", "person", "object"),
    "where": ("name", "person", "place"),
}
LISTS = ("copy", "reverse", "count")
RANKED = (*QUESTIONS, "yes_no", "sentiment", "topic", "paraphrase", "title", *LISTS)  # in the mixtures
HELD_OUT = ("entailment", "coreference", "completion")  # in no mixture
TASKS = (*RANKED, *HELD_OUT, "translation")

Fields = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One question, free of language: a scene, which of its facts is asked about, and the right choice's place."""

    scene: Scene
    asked: int  # 0 or 1
    label: int
    rng_seed: str  # of everything else that is drawn, so that all languages get the same
    evaluation: bool

    @property
    def fact(self) -> Sentence:
        """The fact asked about."""
        return self.scene.facts[self.asked]

    @property
    def other(self) -> Sentence:
        """The other person's fact."""
        return self.scene.facts[1 - self.asked]

    def rng(self) -> random.Random:
        """The case's own random state, always at its beginning."""
        return random.Random(self.rng_seed)


def draw_case(world: World, task: str, rng: random.Random, evaluation: bool) -> Case:
    """Draw a case that a task can ask about."""
    while True:
        scene = draw_scene(world, rng, evaluation, verb="has")
        case = Case(scene, rng.randrange(2), rng.randrange(2), str(rng.getrandbits(64)), evaluation)
        if _fits(world, task, case):
            return case


def _fits(world: World, task: str, case: Case) -> bool:
    """`topic` needs two things of one class, `sentiment` a mood that each of the two people can show."""
    if task == "topic":
        return world.category[case.fact["object"]] == world.category[case.other["object"]]
    people = (case.fact["person"], case.other["person"])
    return task != "sentiment" or all(
        moods_of(world, one, case.scene.polarity, case.evaluation) for one in people
    )


def ranked_row(world: World, task: str, case: Case, language: str) -> Fields:
    """The fields a ranked task's wordings name, with `label`, the index of the right choice.

    For `sentiment` the label follows the scene (0 happy, 1 not), for `topic` the class of the objects.
    """
    if task in QUESTIONS:
        return _question(world, task, case, language)
    return _ROWS[task](world, case, language)


def _passage(
    world: World, case: Case, language: str, facts: Sequence[Sentence] = (), mood: bool = True
) -> str:
    """Two facts as they are given (with their places or not when none are), and one person's mood."""
    rng = case.rng()
    short = rng.random() < 0.5
    told = list(facts or [without_place(fact) if short else fact for fact in case.scene.facts])
    moods = moods_of(world, rng.choice(case.scene.facts)["person"], case.scene.polarity, case.evaluation)
    return world.tell([*told, rng.choice(moods)] if mood and moods else told, language)


def _two(right: str, wrong: str, label: int) -> Fields:
    return {f"choice_{label}": right, f"choice_{1 - label}": wrong, "label": label}


def _question(world: World, task: str, case: Case, language: str) -> Fields:
    field, given, wanted = QUESTIONS[task]
    told = {
        "who": [note(fact) for fact in case.scene.facts],
        "how_many": [note(fact) for fact in case.scene.facts],
        "where": case.scene.facts,
    }
    return {
        "passage": _passage(world, case, language, told.get(task, ())),
        field: world.word(case.fact[given], language),
        **_two(*(world.word(one[wanted], language) for one in (case.fact, case.other)), case.label),
    }


def _yes_no(world: World, case: Case, language: str) -> Fields:
    named = case.fact if case.label == 0 else case.other
    return {
        "passage": _passage(world, case, language),
        "name": case.fact["person"],
        "object": world.word(named["object"], language),
        "label": case.label,
    }


def _sentiment(world: World, case: Case, language: str) -> Fields:
    return {
        "passage": _passage(world, case, language),
        "label": int(case.scene.polarity == "negative"),
    }


def _topic(world: World, case: Case, language: str) -> Fields:
    return {
        "passage": _passage(world, case, language, mood=False),
        "label": CLASSES.index(world.category[case.fact["object"]]),
    }


def _with(fact: Sentence, **slots: str) -> Sentence:
    return sentence(fact.kind, **{**dict(fact.slots), **slots})


def _paraphrase(world: World, case: Case, language: str) -> Fields:
    """A fact and a note of it, or of another fact that differs in one slot; either may come first."""
    rng = case.rng()
    said = case.fact if case.label == 0 else _changed(world, case.fact, rng, case.evaluation)
    pair = [
        without_place(case.fact),
        note(said),
    ]
    first, second = pair if rng.random() < 0.5 else pair[::-1]
    return {
        "sentence_1": world.say(first, language),
        "sentence_2": world.say(second, language),
        "label": case.label,
    }


def _changed(world: World, fact: Sentence, rng: random.Random, evaluation: bool) -> Sentence:
    """A fact of the same side of the split that differs in one of person, number and object."""
    values = {"person": world.ids("person"), "number": NUMBERS, "object": world.objects}
    while True:
        slot = rng.choice(sorted(values))
        found = _with(fact, **{slot: rng.choice(values[slot])})
        if found != fact and for_evaluation(found) == evaluation:
            return found


def _title(world: World, case: Case, language: str) -> Fields:
    """Two facts, and one of them said again: the title names that one."""
    fact = case.fact
    again = [
        sentence("things_at", **{slot: fact[slot] for slot in ("number", "object", "place")}),
        without_place(fact),
        sentence("person_at", person=fact["person"], place=fact["place"]),
    ]
    passage = world.tell([*case.scene.facts, case.rng().choice(again)], language)
    titles = [
        world.say(sentence("title", object=one["object"], place=one["place"]), language)
        for one in (fact, case.other)
    ]
    return {"passage": passage, **_two(*titles, case.label)}


def _draw_list(world: World, case: Case, length: int) -> list[str]:
    rng = case.rng()
    while True:
        things = rng.sample(world.objects, length)
        if for_evaluation(sentence("list", objects="|".join(things))) == case.evaluation:
            return things


def _copy(world: World, case: Case, language: str) -> Fields:
    things = _draw_list(world, case, 3)
    return _list_row(world, things, things, [things[1], things[0], things[2]], case, language)


def _reverse(world: World, case: Case, language: str) -> Fields:
    things = _draw_list(world, case, 3)
    wrong = things if case.rng().random() < 0.5 else [things[1], things[2], things[0]]
    return _list_row(world, things, things[::-1], wrong, case, language)


def _list_row(
    world: World, things: list[str], right: list[str], wrong: list[str], case: Case, language: str
) -> Fields:
    listed, right_list, wrong_list = (world.list(one, language) for one in (things, right, wrong))
    return {"list": listed, **_two(right_list, wrong_list, case.label)}


def _count(world: World, case: Case, language: str) -> Fields:
    length, other = case.rng().sample(range(2, 6), 2)
    things = _draw_list(world, case, length)
    return {"list": world.list(things, language), **_two(str(length), str(other), case.label)}


def _entailment(world: World, case: Case, language: str) -> Fields:
    """Two facts; the hypothesis says part of one again, or joins the two wrongly."""
    fact, other = case.fact, case.other
    if case.label == 1:
        fact = _with(fact, **{slot: other[slot] for slot in ("number", "object", "place")})
    said = [
        note(fact),
        sentence("person_at", person=fact["person"], place=fact["place"]),
        without_place(fact),
    ]
    return {
        "premise": world.tell(case.scene.facts, language),
        "hypothesis": world.say(case.rng().choice(said), language),
        "label": case.label,
    }


def _coreference(world: World, case: Case, language: str) -> Fields:
    """Two facts, and what the person who has one of the two things does."""
    rng, fact = case.rng(), case.fact
    mood = rng.choice(world.ids(case.scene.polarity))
    owned = {slot: fact[slot] for slot in ("person", "number", "object")}
    told = [*map(note, case.scene.facts), sentence("owner", **owned, mood=mood)]
    return {
        "passage": world.tell(told, language),
        **_two(fact["person"], case.other["person"], case.label),
    }


def _completion(world: World, case: Case, language: str) -> Fields:
    """Two facts and one person's mood; what the other person does shows the same polarity."""
    rng = case.rng()
    opposite = "negative" if case.scene.polarity == "positive" else "positive"
    mood, right = rng.sample(world.ids(case.scene.polarity), 2)
    wrong = rng.choice(world.ids(opposite))
    told = [
        *map(without_place, case.scene.facts),
        sentence("mood", person=case.fact["person"], mood=mood),
    ]
    choices = [
        world.say(sentence("mood", person=case.other["person"], mood=one), language) for one in (right, wrong)
    ]
    return {"passage": world.tell(told, language), **_two(*choices, case.label)}


_ROWS: Mapping[str, Callable[[World, Case, str], Fields]] = {
    "yes_no": _yes_no,
    "sentiment": _sentiment,
    "topic": _topic,
    "paraphrase": _paraphrase,
    "title": _title,
    "copy": _copy,
    "reverse": _reverse,
    "count": _count,
    "entailment": _entailment,
    "coreference": _coreference,
    "completion": _completion,
}


def translation_row(world: World, told: Sequence[Sentence], source: str, target: str) -> Fields:
    """A text of one or two sentences, and the same in the target language."""
    names = {"source_language": world.name(source), "target_language": world.name(target)}
    return {**names, "text": world.tell(told, source), "target": world.tell(told, target)}


def draw_text(world: World, rng: random.Random, evaluation: bool) -> tuple[Sentence, ...]:
    """What is to be translated: a fact, with or without its place, sometimes with a mood."""
    case = draw_case(world, "translation", rng, evaluation)
    fact = case.fact if rng.random() < 0.5 else without_place(case.fact)
    moods = moods_of(world, fact["person"], case.scene.polarity, evaluation)
    return (fact, rng.choice(moods)) if moods and rng.random() < 0.3 else (fact,)


def evaluation_rows(world: World, task: str, meanings: int, seed: int = 0) -> list[Fields]:
    """Parallel evaluation rows: the same meanings in all languages, label and asked position balanced.

    Raises:
        ValueError: a number of meanings that is not a multiple of 12 cannot be balanced.
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
    """Whether a case fits the balance of the tasks whose label follows the scene."""
    if task == "topic":
        return CLASSES.index(world.category[case.fact["object"]]) == number % len(CLASSES)
    return task != "sentiment" or (case.scene.polarity == "negative") == (number % 2 == 1)


def draw_truncated(world: World, rng: random.Random, language: str) -> dict[str, str]:
    """A passage cut inside a sentence, and how it goes on."""
    case = draw_case(world, "continuation", rng, False)
    long = rng.random() < 0.6
    text = _passage(world, case, language) if long else world.tell(draw_text(world, rng, False), language)
    words = text.split(" ")
    cuts = [place for place in range(1, len(words)) if not words[place - 1].endswith((".", "。"))]
    cut = rng.choice(cuts)
    return {"start": " ".join(words[:cut]), "rest": " ".join(words[cut:])}


def sentence_rows(world: World, count: int, seed: int = 0) -> Iterator[Fields]:
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
                **attributes(world, meaning, scene),
            }


def attributes(world: World, meaning: Sentence, scene: Scene) -> dict[str, str | None]:
    """The attributes of a sentence's meaning; None where the sentence does not say it."""
    slots = {slot: meaning.get(slot) for slot in ("person", "verb", "number", "object", "place", "mood")}
    thing = slots["object"]
    return {
        "kind": meaning.kind,
        **slots,
        "class": world.category[thing] if thing else None,
        "polarity": scene.polarity if meaning.kind == "mood" else None,
    }
