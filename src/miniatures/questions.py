"""The questions of the miniature world: a case, and the row of each task that asks about it.

A passage states two people's facts. Every question about a fact has two candidates: the right value and the other
person's value of the same kind, both in the passage; which of them is asked for, and its position, are balanced. Three
tasks (`HELD_OUT`) are in no finetuning mixture.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from miniatures.corpus import note, without_place
from miniatures.world import (
    CLASSES,
    NUMBERS,
    Scene,
    Sentence,
    World,
    draw_scene,
    for_evaluation,
    moods_of,
    sentence,
)

QUESTIONS = {  # task: the field that its wordings name, the slot given, the slot asked for
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


_TOLD_FOR: Mapping[str, Callable[[Sentence], Sentence]] = {  # the form of the facts in a question's passage
    "who": note,
    "how_many": note,
    "what": without_place,
    "where": lambda fact: fact,
}


@dataclass(frozen=True)
class Case:
    """One question, independent of language: a scene, which of its facts is asked about, and the index of the right choice."""

    scene: Scene
    asked: int  # 0 or 1
    label: int
    rng_seed: str  # of all other draws, so that they are the same in all languages
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
        """Return the case's own random state, always at its beginning."""
        return random.Random(self.rng_seed)


def draw_case(world: World, task: str, rng: random.Random, evaluation: bool) -> Case:
    """Draw a case that a task can ask about."""
    while True:
        scene = draw_scene(world, rng, evaluation, verb="has")
        case = Case(scene, rng.randrange(2), rng.randrange(2), str(rng.getrandbits(64)), evaluation)
        if _fits(world, task, case):
            return case


def _fits(world: World, task: str, case: Case) -> bool:
    """Return whether a task can use a case.

    `topic` needs two things of one class, `sentiment` a mood that each of the two people can show.
    """
    if task == "topic":
        return world.category[case.fact["object"]] == world.category[case.other["object"]]
    people = (case.fact["person"], case.other["person"])
    return task != "sentiment" or all(
        moods_of(world, one, case.scene.polarity, case.evaluation) for one in people
    )


def ranked_row(world: World, task: str, case: Case, language: str) -> Fields:
    """Return the fields that a ranked task's wordings name, with `label`, the index of the right choice.

    For `sentiment` the label is determined by the scene (0 happy, 1 not), for `topic` by the class of the objects.
    """
    if task in QUESTIONS:
        return _question(world, task, case, language)
    return _ROWS[task](world, case, language)


def passage(
    world: World, case: Case, language: str, facts: Sequence[Sentence] = (), mood: bool = True
) -> str:
    """Return two facts as given (by default the scene's, both with or both without places) and, if `mood`, one person's mood."""
    rng = case.rng()
    short = rng.random() < 0.5
    told = list(facts or [without_place(fact) if short else fact for fact in case.scene.facts])
    moods = moods_of(world, rng.choice(case.scene.facts)["person"], case.scene.polarity, case.evaluation)
    return world.tell([*told, rng.choice(moods)] if mood and moods else told, language)


def _two(label: int, right: str, wrong: str) -> Fields:
    return {f"choice_{label}": right, f"choice_{1 - label}": wrong, "label": label}


def _question(world: World, task: str, case: Case, language: str) -> Fields:
    field, given, wanted = QUESTIONS[task]
    told = [_TOLD_FOR[task](fact) for fact in case.scene.facts]
    return {
        "passage": passage(world, case, language, told, mood=field == "object"),
        field: world.word(case.fact[given], language),
        **_two(case.label, *(world.word(one[wanted], language) for one in (case.fact, case.other))),
    }


def _yes_no(world: World, case: Case, language: str) -> Fields:
    named = case.fact if case.label == 0 else case.other
    told = list(map(without_place, case.scene.facts))
    return {
        "passage": passage(world, case, language, told, mood=False),
        "name": case.fact["person"],
        "object": world.word(named["object"], language),
        "label": case.label,
    }


def _sentiment(world: World, case: Case, language: str) -> Fields:
    return {
        "passage": passage(world, case, language),
        "label": int(case.scene.polarity == "negative"),
    }


def _topic(world: World, case: Case, language: str) -> Fields:
    return {
        "passage": passage(world, case, language, mood=False),
        "label": CLASSES.index(world.category[case.fact["object"]]),
    }


def _with(fact: Sentence, **slots: str) -> Sentence:
    return sentence(fact.kind, **{**dict(fact.slots), **slots})


def _paraphrase(world: World, case: Case, language: str) -> Fields:
    """Return a fact with a note of it, or of another fact that differs in one slot; either may come first."""
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
    """Return a fact from the same side of the split that differs in one of person, number and object."""
    values = {"person": world.ids("person"), "number": NUMBERS, "object": world.objects}
    while True:
        slot = rng.choice(sorted(values))
        found = _with(fact, **{slot: rng.choice(values[slot])})
        if found != fact and for_evaluation(found) == evaluation:
            return found


def _title(world: World, case: Case, language: str) -> Fields:
    """Return two facts and one of them restated, which is the one that the title names."""
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
    return {"passage": passage, **_two(case.label, *titles)}


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
    return {"list": listed, **_two(case.label, right_list, wrong_list)}


def _count(world: World, case: Case, language: str) -> Fields:
    length, other = case.rng().sample(range(2, 6), 2)
    things = _draw_list(world, case, length)
    return {"list": world.list(things, language), **_two(case.label, str(length), str(other))}


def _entailment(world: World, case: Case, language: str) -> Fields:
    """Return two facts and a hypothesis that restates part of one, or combines the two wrongly."""
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
    """Return two facts and the mood of "the person who has" one of the two things."""
    rng, fact = case.rng(), case.fact
    mood = rng.choice(world.ids(case.scene.polarity))
    owned = {slot: fact[slot] for slot in ("person", "number", "object")}
    told = [*map(note, case.scene.facts), sentence("owner", **owned, mood=mood)]
    return {
        "passage": world.tell(told, language),
        **_two(case.label, fact["person"], case.other["person"]),
    }


def _completion(world: World, case: Case, language: str) -> Fields:
    """Return two facts and one person's mood; the right mood of the other person has the same polarity."""
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
    return {"passage": world.tell(told, language), **_two(case.label, *choices)}


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
