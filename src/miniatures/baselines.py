"""Baselines without knowledge of language, for comparison with a member's score.

`copy_choice` takes the choice that occurs last in the prompt. `ngram_choices` is a linear model on character n-grams,
fitted per task on examples from the training side of the split, drawn as for xP3 (its languages and shares, English
wordings of the families in the mixtures, no translation or continuation). A baseline sees a prompt and its choices.
"""

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import HashingVectorizer

from miniatures.examples import FINETUNED, PIVOT_SHARE, Wordings, read_wordings
from miniatures.questions import RANKED, draw_case, ranked_row
from miniatures.world import PIVOT, World, read_world
from workbench.errors import UnknownName
from workbench.tasks import Item, make_items

LABELLED = ("yes_no", "sentiment", "topic", "paraphrase")  # choices: label words, the same for every row
NUMBERED = ("count",)  # their choices are numbers that do not occur in the prompt
STANDS_IN = {
    "entailment": "paraphrase",
    "coreference": "who",
    "completion": "title",
}  # for tasks in no mixture
TRAINING_ITEMS = 800  # per task
STRENGTH = 0.01  # of the ridge, in units of the mean squared length of an example
WINDOW = 14  # characters on either side of a choice's occurrence
PLACE, NOWHERE = "◦", "◌"  # marks of the choice in its window, and of a choice that is not in the prompt


def copy_choice(item: Item) -> int:
    """Return the index of the choice whose text begins last in the prompt.

    A choice that does not occur counts as before the start; among choices that begin at the same place (or are all absent, as
    label words and counts mostly are) the first is taken, which is right no more often than the others.
    """
    places = [item.prompt.rfind(choice) for choice in item.choices]
    return places.index(max(places))


def ngram_choices(
    items: Sequence[Item],
    seed: int = 0,
    *,
    languages: Sequence[str] = FINETUNED,
    training: int = TRAINING_ITEMS,
) -> list[int]:
    """Return for each item, of any task, the index of the choice that a linear model on character n-grams takes.

    The model of each task is fitted on `training` items in some of the finetuned languages, drawn from the seed; a
    held-out task uses the model of another task (`STANDS_IN`).

    Raises:
        UnknownName: an item of a task that is in no mixture and has no stand-in.
    """
    world, wordings = read_world(), read_wordings()
    of_model: dict[str, list[int]] = defaultdict(list)
    for place, item in enumerate(items):
        of_model[STANDS_IN.get(item.task, item.task)].append(place)
    chosen = [0] * len(items)
    for task, places in of_model.items():
        draw = random.Random(f"n-grams {task} {seed}")
        drawn = [training_item(world, wordings, task, draw, languages=languages) for _ in range(training)]
        found = fit(drawn).choose([items[place] for place in places])
        for place, choice in zip(places, found, strict=True):
            chosen[place] = choice
    return chosen


def training_item(
    world: World, wordings: Wordings, task: str, rng: random.Random, *, languages: Sequence[str] = FINETUNED
) -> Item:
    """Draw an item of one task as in the mixture xP3; in English if the language drawn is not in `languages`.

    Raises:
        UnknownName: a task that is in no mixture.
    """
    if task not in RANKED:
        raise UnknownName(f"no mixture has the ranked task {task!r}; choose one of: {', '.join(RANKED)}")
    language = PIVOT if rng.random() < PIVOT_SHARE else rng.choice(FINETUNED[1:])
    language = language if language in languages else PIVOT
    wording = rng.choice([one for one in wordings[task] if one.language == PIVOT and not one.held_out])
    row = ranked_row(world, task, draw_case(world, task, rng, evaluation=False), language)
    return make_items([{"id": "", "cluster": "", "language": language, **row}], [wording])[0]


@dataclass(frozen=True)
class NGrams:
    """A fitted linear model of one task: weights of shape (features, D), and the prediction for an item without features."""

    task: str
    weights: np.ndarray
    offset: np.ndarray

    def choose(self, items: Sequence[Item]) -> list[int]:
        """Return the index of the choice taken for each item of the task (or of one it stands in for)."""
        told = np.asarray(_features(self.task, items) @ self.weights) + self.offset
        if self.task not in LABELLED + NUMBERED:
            return [int(one[0] < 0) for one in told]
        return [
            int(
                np.argmin(
                    [
                        np.sum((one - _answer(self.task, item, place)) ** 2)
                        for place in range(len(item.choices))
                    ]
                )
            )
            for one, item in zip(told, items, strict=True)
        ]


def fit(items: Sequence[Item]) -> NGrams:
    """Fit by ridge regression on items of one task with their gold answers.

    There are three kinds of task, each with the strongest simple features found. Label words: the n-grams in the prompt
    (present or absent) predict the label. Numbers: the n-grams and their counts predict the number, and the nearest choice is
    taken. Two choices that occur in the prompt: the n-grams around the occurrences of one, minus those around the
    other's, predict which is right.
    """
    task = items[0].task
    features = _features(task, items)
    wanted = np.array([_wanted(task, item) for item in items], dtype=np.float64)
    offset = wanted.mean(axis=0) if task in LABELLED + NUMBERED else np.zeros(1)
    kernel = (features @ features.T).toarray()
    ridge = STRENGTH * np.trace(kernel) / len(items)
    of_items = np.linalg.solve(kernel + ridge * np.eye(len(items)), wanted - offset)
    return NGrams(task, np.asarray(features.T @ of_items), offset)


def _wanted(task: str, item: Item) -> np.ndarray:
    gold = item.gold or 0
    return _answer(task, item, gold) if task in LABELLED + NUMBERED else np.array([1.0 - 2.0 * gold])


def _answer(task: str, item: Item, place: int) -> np.ndarray:
    """Return the model's target if this choice is right: a unit vector for a label, else the number."""
    return np.array([float(item.choices[place])]) if task in NUMBERED else np.eye(len(item.choices))[place]


def _features(task: str, items: Sequence[Item]) -> sparse.csr_matrix:
    counter = HashingVectorizer(
        analyzer="char",
        ngram_range=(1, 4),
        n_features=2**16,
        alternate_sign=False,
        norm=None,
        lowercase=False,
    )
    if task in LABELLED + NUMBERED:
        counts = counter.transform([item.prompt for item in items])
        return sparse.hstack([counts.sign(), counts] if task in NUMBERED else [counts.sign()], format="csr")
    first, second = (
        counter.transform([_windows(item.prompt, item.choices[place]) for item in items]) for place in (0, 1)
    )
    return first - second


def _windows(prompt: str, choice: str) -> str:
    """Return the text around each occurrence of a choice, with the choice itself masked."""
    found, start = [], prompt.find(choice)
    while start >= 0:
        end = start + len(choice)
        found.append(prompt[max(0, start - WINDOW) : start] + PLACE + prompt[end : end + WINDOW])
        start = prompt.find(choice, end)
    return "\n".join(found) or NOWHERE
