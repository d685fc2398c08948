"""Attributes of words that a probe has never seen are read where they were planted, and shuffled labels score at chance."""

import numpy as np
import pytest

from workbench.errors import BadInput
from workbench.studies.probing import (
    Examples,
    WordExamples,
    shuffle_control,
    unseen_word_accuracy,
    word_examples,
)
from workbench.studies.probing.unseen_words import folds, word_accuracy


def words(strength, seed=0, count=12, labels=3, each=30, width=16):
    """Sentences about words: each word has a place of its own, and those of one label share a direction."""
    generator = np.random.default_rng(seed)
    own = generator.permutation(np.repeat(np.arange(labels), count // labels))
    places = 2 * generator.normal(size=(count, width)) + strength * np.eye(width)[own]
    word = np.repeat(np.arange(count), each)
    states = places[word] + generator.normal(size=(len(word), width))
    return WordExamples(states[:, None] - states.mean(axis=0), word, own)


@pytest.mark.parametrize(("count", "labels"), [(12, 3), (10, 2)])
def test_a_planted_attribute_is_read_from_words_never_seen_and_none_where_none_is(count, labels):
    read, nothing = (
        np.mean([unseen_word_accuracy(words(s, seed, count, labels)).mean() for seed in range(6)])
        for s in (12, 0)
    )
    assert read > 0.9
    assert nothing == pytest.approx(1 / labels, abs=0.15)


@pytest.mark.parametrize("strength", [0, 12])
def test_shuffled_labels_are_at_chance_though_every_word_is_easy_to_tell(strength):
    found = shuffle_control(words(strength), permutations=300)
    assert found.estimate == pytest.approx(1 / 3, abs=0.02)
    assert found.high - found.low < 0.04


def test_twin_words_that_are_in_training_too_are_remembered_under_any_labels():
    """The states do tell the words: a probe that has seen a word says whatever label it was given."""
    given = words(0)
    features, shuffled_labels = given.states[:, 0], np.random.default_rng(1).permutation(given.labels)
    train = np.arange(len(given.word)) % 2 == 0
    weights, *_ = np.linalg.lstsq(features[train], np.eye(3)[shuffled_labels[given.word[train]]])
    right = (features[~train] @ weights).argmax(axis=1) == shuffled_labels[given.word[~train]]
    assert right.mean() > 0.8


def test_the_interval_of_shuffled_labels_covers_chance_about_19_times_in_20():
    given = words(12, count=8, labels=2, each=6)
    fitted = folds(given, 0)
    generator = np.random.default_rng(0)
    drawn = np.array([generator.permutation(given.labels) for _ in range(1200)])
    scores = word_accuracy(fitted, drawn).mean(axis=1)
    assert np.mean(scores) == pytest.approx(0.5, abs=0.02)
    covered = [
        abs(np.mean(part) - 0.5) < 2 * np.std(part) / len(part) ** 0.5 for part in np.split(scores, 40)
    ]
    assert np.mean(covered) > 0.85


def test_the_answers_to_any_labels_are_those_of_a_fit_from_the_start():
    given = words(6, count=6, labels=2, each=8)
    fitted = folds(given, 0)
    held_out = next(pair for pair in fitted.sets if len(set(given.labels[list(pair)])) == 2)
    place = fitted.sets.index(held_out)
    features = np.hstack([given.states[:, 0], np.full((len(given.word), 1), given.states[:, 0].std())])
    train = ~np.isin(given.word, held_out)
    gram = features[train].T @ features[train]
    ridge = 0.1 * np.trace(gram) / len(gram) * np.eye(len(gram))
    weights = np.linalg.solve(gram + ridge, features[train].T @ np.eye(2)[given.labels[given.word[train]]])
    predicted = fitted.weights[place] @ np.eye(2)[given.labels]
    assert predicted == pytest.approx(features[~train] @ weights)


def test_labels_of_unequal_numbers_of_words_are_refused():
    with pytest.raises(BadInput, match=r"\[3, 1\]"):
        WordExamples(np.zeros((4, 1, 2)), np.arange(4), np.array([0, 0, 0, 1]))


def test_texts_are_grouped_by_word_and_the_language_is_taken_away():
    """A word's two languages lie far apart; centred, the texts about it are alike."""
    generator = np.random.default_rng(0)
    places, offset = generator.normal(size=(4, 1, 8)), 50 * generator.normal(size=(1, 8))
    states = np.concatenate([places, places + offset])
    given = Examples(states, ["b", "a", "b", "a"] * 2, ["en"] * 4 + ["fr"] * 4, list(range(8)))
    found = word_examples(given, ["w", "x", "y", "z"] * 2, width=4)
    assert found.word.tolist() == [0, 1, 2, 3] * 2
    assert found.labels.tolist() == [1, 0, 1, 0]
    assert found.states.shape == (8, 1, 4)
    assert found.states[:4] == pytest.approx(found.states[4:])
    assert not np.allclose(states[:4], states[4:])


def test_words_that_do_not_fit_the_texts_are_refused():
    given = Examples(np.zeros((4, 1, 2)), ["a", "b"] * 2, ["en"] * 4, list(range(4)))
    with pytest.raises(BadInput, match="4 texts came with 3 words"):
        word_examples(given, ["w", "x", "y"])
    with pytest.raises(BadInput, match=r"'w' has the labels 'a' and 'b'"):
        word_examples(given, ["w", "w", "x", "y"])
