"""A probe of an attribute of words, tested on words that it has not seen, and its control with shuffled labels.

The probe learns the attribute (the class of an object, the polarity of a mood) from the texts about some words and is
tested on the texts about one other word per label. Every such set of words is held out in turn. The fit is ridge
regression on states that were reduced once without labels, so the predictions for any labelling of the words are products
of a few small matrices, and shuffling the labels needs no refit.
"""

import itertools
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from workbench.errors import BadInput
from workbench.stats import Interval, bootstrap
from workbench.studies.probing.examples import Examples, centred

STRENGTH = 0.1  # of the ridge, in units of the mean variance of a reduced state


@dataclass(frozen=True)
class WordExamples:
    """States of N texts at L layers, (N, L, D), and the index of the word that each is about; `labels` are of the W words."""

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


def word_examples(examples: Examples, words: Sequence[Hashable], *, width: int = 32) -> WordExamples:
    """Group texts by the word that each is about; centre their states per language and reduce them.

    Args:
        words: The word of each text; all texts about a word must have the same label.
        width: Dimensions kept: the directions of largest variance, layer by layer.

    Raises:
        BadInput: another number of words, a word with two labels, or labels that do not have equally many words.
    """
    if len(words) != len(examples.labels):
        raise BadInput(
            f"{len(examples.labels)} texts came with {len(words)} words; give the word of each text"
        )
    label_of = dict(zip(words, examples.labels, strict=True))
    for word, label in zip(words, examples.labels, strict=True):
        if label_of[word] != label:
            raise BadInput(
                f"the word {word!r} has the labels {label!r} and {label_of[word]!r}; give each word one label"
            )
    names, kinds = sorted(label_of, key=repr), sorted(set(examples.labels), key=repr)
    return WordExamples(
        _reduced(examples.states, examples.languages, width),
        np.array([names.index(one) for one in words]),
        np.array([kinds.index(label_of[one]) for one in names]),
    )


def unseen_word_accuracy(words: WordExamples) -> np.ndarray:
    """Return the accuracy for each word when it is held out, shape (W,), averaged over layers."""
    layers = range(words.states.shape[1])
    return np.mean([word_accuracy(folds(words, layer), words.labels[None])[0] for layer in layers], axis=0)


def shuffle_control(words: WordExamples, permutations: int = 500, seed: int = 0) -> Interval:
    """Return the mean accuracy over words and layers when labels are shuffled among the words.

    Its expectation is exactly 1 / labels: the assignment of labels to the held-out words is then random, whatever was
    learned from the others. The interval is that of a mean over independent shuffles.

    Raises:
        BadInput: fewer than two permutations.
    """
    generator = np.random.default_rng(seed)
    drawn = np.array([generator.permutation(words.labels) for _ in range(permutations)])
    layers = range(words.states.shape[1])
    scores = np.mean([word_accuracy(folds(words, layer), drawn).mean(axis=1) for layer in layers], axis=0)
    return bootstrap(scores, np.arange(len(scores)), seed=seed)


@dataclass(frozen=True)
class Folds:
    """Fits for every set of words that may be held out together, at one layer.

    `weights[set]` has the shape (n, W): the prediction for each of the n texts about the set's words, as weights of the
    words in training (0 for those held out).
    """

    sets: tuple[tuple[int, ...], ...]
    about: tuple[np.ndarray, ...]  # the word of each of the n texts
    weights: tuple[np.ndarray, ...]


def folds(words: WordExamples, layer: int) -> Folds:
    """Fit once for every set of as many words as there are labels, for any labelling of the words."""
    features, count = words.states[:, layer], len(words.labels)
    features = np.hstack(
        [features, np.full((len(features), 1), features.std())]
    )  # a constant feature, for the offset
    grams = np.stack([features[words.word == one].T @ features[words.word == one] for one in range(count)])
    sums = np.stack([features[words.word == one].sum(axis=0) for one in range(count)])
    sets = tuple(itertools.combinations(range(count), len(set(words.labels))))
    about, fitted = [], []
    for held_out in sets:
        training = [one for one in range(count) if one not in held_out]
        gram = grams[training].sum(axis=0)
        ridge = STRENGTH * np.trace(gram) / len(gram) * np.eye(len(gram))
        tested = np.isin(words.word, held_out)
        weights = np.zeros((int(tested.sum()), count))
        weights[:, training] = features[tested] @ np.linalg.solve(gram + ridge, sums[training].T)
        about.append(words.word[tested])
        fitted.append(weights)
    return Folds(sets, tuple(about), tuple(fitted))


def word_accuracy(fitted: Folds, labels: np.ndarray) -> np.ndarray:
    """Return the share of each word's texts that are predicted right when it is held out, shape (P, W), for P labellings (P, W).

    Only sets of held-out words with one of each label count, so that labels are balanced in training: otherwise the labels
    held out more often would be rarer in training, and chance would be below 1 / labels.
    """
    (drawn, count), kinds = labels.shape, int(labels.max()) + 1
    indicators = np.eye(kinds)[labels].transpose(1, 2, 0)  # (W, kinds, P)
    right, asked = np.zeros((drawn, count)), np.zeros((drawn, count))
    for held_out, about, weights in zip(fitted.sets, fitted.about, fitted.weights, strict=True):
        balanced = (np.sort(labels[:, held_out]) == np.arange(kinds)).all(axis=1).nonzero()[0]
        scores = (weights @ indicators[:, :, balanced].reshape(count, -1)).reshape(len(about), kinds, -1)
        texts = np.eye(count)[about]  # (n, W)
        right[balanced] += (scores.argmax(axis=1) == labels[balanced][:, about].T).T @ texts
        asked[balanced] += texts.sum(axis=0)
    return right / asked


def _reduced(states: np.ndarray, languages: Sequence[str], width: int) -> np.ndarray:
    """Centre states per language, and project those of each layer onto their `width` directions of largest variance."""
    moved, layers = centred(states, languages), []
    for layer in range(moved.shape[1]):
        _, _, directions = np.linalg.svd(moved[:, layer], full_matrices=False)
        layers.append(moved[:, layer] @ directions[:width].T)
    return np.stack(layers, axis=1)
