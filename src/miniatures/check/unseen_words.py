"""Check e: linear probes read from the bases what training put there, and nothing if labels are shuffled.

A probe learns an attribute of words (`class` of an object, `polarity` of a mood) from the sentences with some of them and is
tested on sentences with unseen words, one for each value of the attribute, in all languages. Every such set of words is
held out in turn. The fit is ridge regression on states that were reduced once without labels, so the predictions for any
labelling of the words are products of a few small matrices, and shuffled labels need no refit.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from miniatures.check.checks import INTERVAL, Row, as_table, row
from miniatures.check.sides import SIDES, Side
from miniatures.scores import at_hand
from workbench.errors import BadInput
from workbench.inference.states import hidden_states
from workbench.paths import data_path
from workbench.stats import Interval, bootstrap
from workbench.tasks import read_sentences

ATTRIBUTES = {"class": "object", "polarity": "mood"}  # attribute: the slot of the words that have it
TWINS = 3  # models with random weights, whose scores are averaged
WIDTH = 32  # dimensions to which the states of a layer are reduced
STRENGTH = 0.1  # of the ridge, in units of the mean variance of a reduced state
PERMUTATIONS = 500
AT_CHANCE = 0.02  # largest distance from chance of the interval for shuffled labels


@dataclass(frozen=True)
class Words:
    """States of N sentences at L layers, (N, L, D), and the index of the word that each is about; `labels` are of the W words."""

    states: np.ndarray
    word: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        sizes = np.bincount(self.labels)
        if len(self.word) != len(self.states) or len(sizes) < 2 or len(set(sizes)) != 1 or sizes[0] < 2:
            raise BadInput(
                f"{len(self.states)} states came with {len(self.word)} words, of whose labels there are {sizes.tolist()}; "
                "give each label to equally many words, at least two"
            )


def probes(folder: Path | None = None, seed: int = 0, permutations: int = PERMUTATIONS) -> pd.DataFrame:
    """Judge check e on the bases in `folder`: one row per condition, with the columns of `check`.

    Trained minus random weights is a difference of accuracies on the same sentences, averaged over all layers but the
    embeddings; its interval is from resampling words, of which there are few, since sentences about one word are
    correlated. The interval of the shuffled labels is that of a mean over independent shuffles.

    Raises:
        BadInput: a base that is missing.
    """
    folder = folder or data_path("mini/models")
    missing = [side.base for side in SIDES if not (folder / side.base / "model.safetensors").exists()]
    if missing:
        raise BadInput(f"{folder} lacks {', '.join(missing)}; train them with `workbench mini train`")
    return as_table(found for side in SIDES for found in _side(folder / side.base, side, seed, permutations))


def _side(base: Path, side: Side, seed: int, permutations: int) -> Iterator[Row]:
    sentences = read_sentences()
    texts = [one["text"] for one in sentences]
    trained = read_states(base, texts)
    twins = [read_states(base, texts, random_seed=seed + number) for number in range(TWINS)]
    for attribute in ATTRIBUTES:
        own = words_of(sentences, trained, attribute)
        others = [words_of(sentences, one, attribute) for one in twins]
        yield from _attribute(own, others, attribute, side, seed)
        found = shuffled(own, permutations, seed)
        chance = 1 / len(set(own.labels))
        near = chance - AT_CHANCE <= found.low and found.high <= chance + AT_CHANCE
        what = f"{attribute}, held-out words, shuffled labels, within ±{AT_CHANCE} of"
        yield row("e", side.name, what, found, (INTERVAL, chance, near))


def _attribute(own: Words, others: Sequence[Words], attribute: str, side: Side, seed: int) -> Iterator[Row]:
    trained = held_out_accuracy(own)
    random = np.mean([held_out_accuracy(one) for one in others], axis=0)
    for name, scores in (("trained", trained), ("random weights", random)):
        what = f"{attribute}, held-out words, {name}"
        yield row("e", side.name, what, bootstrap(scores, np.arange(len(scores)), seed=seed))
    found = bootstrap(trained - random, np.arange(len(trained)), seed=seed)
    what = f"{attribute}, held-out words, trained - random weights, above"
    yield row("e", side.name, what, found, (INTERVAL, 0.0, found.low > 0))


def read_states(base: Path, texts: Sequence[str], random_seed: int | None = None) -> np.ndarray:
    """Read a model's states at all layers but the embeddings, shape (N, L, D)."""
    with at_hand(base, random_seed) as model:
        return hidden_states(model, texts, batch_size=128).array[:, 1:]


def words_of(sentences: Sequence[dict[str, str]], states: np.ndarray, attribute: str) -> Words:
    """Select the sentences that state an attribute; centre their states per language and reduce them to `WIDTH` directions."""
    told = np.array([one[attribute] is not None for one in sentences])
    rows = [one for one in sentences if one[attribute] is not None]
    words = sorted({one[ATTRIBUTES[attribute]] for one in rows})
    values = {one[ATTRIBUTES[attribute]]: one[attribute] for one in rows}
    kinds = sorted(set(values.values()))
    return Words(
        _reduced(states[told], np.array([one["language"] for one in rows])),
        np.array([words.index(one[ATTRIBUTES[attribute]]) for one in rows]),
        np.array([kinds.index(values[one]) for one in words]),
    )


def _reduced(states: np.ndarray, languages: np.ndarray) -> np.ndarray:
    """Centre states per language, and project those of each layer onto their `WIDTH` directions of largest variance."""
    centred = states.astype(np.float64)
    for language in set(languages):
        centred[languages == language] -= centred[languages == language].mean(axis=0)
    layers = []
    for layer in range(centred.shape[1]):
        _, _, directions = np.linalg.svd(centred[:, layer], full_matrices=False)
        layers.append(centred[:, layer] @ directions[:WIDTH].T)
    return np.stack(layers, axis=1)


@dataclass(frozen=True)
class Folds:
    """Fits for every set of words that may be held out together, at one layer.

    `told[set]` has the shape (n, W): the prediction for each of the n sentences about the set's words, as weights of the
    words in training (0 for those held out).
    """

    sets: tuple[tuple[int, ...], ...]
    about: tuple[np.ndarray, ...]  # the word of each of the n sentences
    told: tuple[np.ndarray, ...]


def folds(words: Words, layer: int) -> Folds:
    """Fit once for every set of as many words as there are labels, for any labelling of the words."""
    features, count = words.states[:, layer], len(words.labels)
    features = np.hstack(
        [features, np.full((len(features), 1), features.std())]
    )  # a constant feature, for the offset
    grams = np.stack([features[words.word == one].T @ features[words.word == one] for one in range(count)])
    sums = np.stack([features[words.word == one].sum(axis=0) for one in range(count)])
    sets = tuple(itertools.combinations(range(count), len(set(words.labels))))
    about, told = [], []
    for held_out in sets:
        training = [one for one in range(count) if one not in held_out]
        gram = grams[training].sum(axis=0)
        ridge = STRENGTH * np.trace(gram) / len(gram) * np.eye(len(gram))
        tested = np.isin(words.word, held_out)
        weights = np.zeros((int(tested.sum()), count))
        weights[:, training] = features[tested] @ np.linalg.solve(gram + ridge, sums[training].T)
        about.append(words.word[tested])
        told.append(weights)
    return Folds(sets, tuple(about), tuple(told))


def word_accuracy(fitted: Folds, labels: np.ndarray) -> np.ndarray:
    """Return the share of each word's sentences that are predicted right when it is held out, shape (W,).

    Only sets of held-out words with one of each label count, so that labels are balanced in training: otherwise the labels
    held out more often would be rarer in training, and chance would be below 1 / labels.
    """
    kinds = np.eye(labels.max() + 1)[labels]
    right, asked = np.zeros(len(labels)), np.zeros(len(labels))
    for held_out, about, told in zip(fitted.sets, fitted.about, fitted.told, strict=True):
        if len(set(labels[list(held_out)])) == len(held_out):
            correct = (told @ kinds).argmax(axis=1) == labels[about]
            right += np.bincount(about, weights=correct, minlength=len(labels))
            asked += np.bincount(about, minlength=len(labels))
    return right / asked


def held_out_accuracy(words: Words) -> np.ndarray:
    """Return the accuracy for each held-out word, shape (W,), averaged over layers."""
    layers = range(words.states.shape[1])
    return np.mean([word_accuracy(folds(words, layer), words.labels) for layer in layers], axis=0)


def shuffled(words: Words, permutations: int = PERMUTATIONS, seed: int = 0) -> Interval:
    """Return the mean accuracy over words and layers when labels are shuffled among the words.

    Its expectation is exactly 1 / labels: the assignment of labels to the held-out words is then random, whatever was
    learned from the others.

    Raises:
        BadInput: fewer than two permutations.
    """
    generator = np.random.default_rng(seed)
    fitted = [folds(words, layer) for layer in range(words.states.shape[1])]
    drawn = [generator.permutation(words.labels) for _ in range(permutations)]
    scores = [np.mean([word_accuracy(one, labels).mean() for one in fitted]) for labels in drawn]
    return bootstrap(scores, np.arange(len(scores)), seed=seed)
