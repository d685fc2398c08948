"""Checks of assignment 5, "Does the probe know or remember?": states in which it is known what a probe can read, and from where."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from workbench.grading import Choice, check

KINDS = ("animal", "food", "tool")
TABLES = 6  # of each kind of states

Planted = tuple[np.ndarray, np.ndarray, np.ndarray]


def planted(
    draw: np.random.Generator,
    *,
    shared: float = 0.0,
    own: float = 0.0,
    kinds: int = 2,
    words: int = 32,
    texts: int = 5,
    width: int = 32,
) -> Planted:
    """States, labels and words of texts in random order.

    shared: length of the direction that words of a label have in common.
    own: length of the direction that a word has for itself, which says nothing of other words.
    """
    label = draw.permutation(np.arange(words) % kinds)
    names = np.array([f"word-{number:02d}" for number in draw.permutation(words)])
    ways = np.linalg.qr(draw.normal(size=(width, kinds)))[0].T * shared
    of_words = draw.normal(size=(words, width)) * own / np.sqrt(width)
    states = np.repeat(ways[label] + of_words, texts, axis=0) + draw.normal(size=(words * texts, width)) * 0.5
    order = draw.permutation(len(states))
    labels = np.array(KINDS)[np.repeat(label, texts)]
    return states[order].round(4), labels[order], np.repeat(names, texts)[order]


def by_word(words: np.ndarray, values: Any) -> dict[str, set[Any]]:
    """The different values of each word's rows."""
    found: dict[str, set[Any]] = {}
    for word, value in zip(words.tolist(), values, strict=True):
        found.setdefault(word, set()).add(value)
    return found


def folds_of(draw: np.random.Generator, words: np.ndarray, folds: int) -> np.ndarray:
    """A split by word, shape (N,)."""
    names, row = np.unique(words, return_inverse=True)
    return (draw.permutation(len(names)) % folds)[row]


@check(
    "no-leak",
    "word_folds",
    "Some word is on both sides of the split: what the probe is tested on, it has seen. Follow one word through your function.",
)
def no_leak(draw: np.random.Generator) -> Iterator[Any]:
    """Every word is in one fold, whatever the order of rows, and every fold is used."""
    calls = []
    for number in range(10):
        sizes = draw.integers(1, 9, draw.integers(9, 25))
        words = np.repeat([f"word-{n}" for n in draw.permutation(len(sizes))], sizes)
        calls.append((draw.permutation(words), int(draw.integers(2, 6)), number))
    found = yield calls
    whole = all(
        len(each) == 1
        for (words, *_), own in zip(calls, found, strict=True)
        for each in by_word(words, own).values()
    )
    return whole and all(
        sorted(set(own)) == list(range(folds)) for (_, folds, _), own in zip(calls, found, strict=True)
    )


@check(
    "even",
    "word_folds",
    "Count the words in each of your folds: their numbers may differ by one at most.",
)
def even(draw: np.random.Generator) -> Iterator[Any]:
    """Equally many words in each fold, up to one, though some words have many rows."""
    calls = []
    for number in range(8):
        words = np.repeat([f"word-{n}" for n in range(13)], draw.permutation([1] * 8 + [2] * 4 + [40]))
        calls.append((draw.permutation(words), 4, number))
    found = yield calls
    counts = [
        Counter(next(iter(each)) for each in by_word(words, own).values())
        for (words, *_), own in zip(calls, found, strict=True)
    ]
    return all(sorted(each.values()) == [3, 3, 3, 4] for each in counts)


@check(
    "by-chance",
    "word_folds",
    "Which words share a fold must be left to chance: words that stand together in a list, or in the alphabet, tend to have the same label.",
)
def by_chance(draw: np.random.Generator) -> Iterator[Any]:
    """Two neighbours of the list share a fold as often as any two words, and seeds differ."""
    words = np.repeat([f"{kind}-{n}" for kind in ("a", "b", "c") for n in range(4)], 3)
    found = yield [(words, 3, number) for number in range(60)]
    together = np.mean(
        [[own[3 * n] == own[3 * n + 3] for n in (0, 1, 2, 4, 5, 6, 8, 9, 10)] for own in found]
    )
    return len({tuple(own) for own in found}) > 30 and 0.15 < together < 0.4  # 3 / 11 by chance


@check(
    "remembered",
    "held_out_accuracy",
    "Where words have labels by chance, nothing can be read from words that the probe has not seen, and yet your accuracy is high. What was the probe trained on?",
)
def remembered(draw: np.random.Generator) -> Iterator[Any]:
    """About chance on unseen words whose labels were drawn by lot."""
    tables = [planted(draw, own=6.0, words=40) for _ in range(8)]
    found = yield [(states, labels, folds_of(draw, words, 4)) for states, labels, words in tables]
    accuracy = np.asarray(found, dtype=float)
    return bool(((accuracy >= 0) & (accuracy <= 1)).all() and accuracy.mean() < 0.62)


@check(
    "shared",
    "held_out_accuracy",
    "In these states all words of a label have a direction in common, and your probe does not find it in new words.",
)
def shared(draw: np.random.Generator) -> Iterator[Any]:
    """A shared direction is found in unseen words, with two labels and with three."""
    tables = [planted(draw, shared=4.0, kinds=kinds) for kinds in (2, 3, 2, 3)]
    found = yield [(states, labels, folds_of(draw, words, 4)) for states, labels, words in tables]
    return bool(min(map(float, found)) > 0.85)


@check(
    "every-row",
    "held_out_accuracy",
    "The accuracy is that of all rows, each tested once: which rows, or which folds, count in yours?",
)
def every_row(draw: np.random.Generator) -> Iterator[Any]:
    """One small fold in which every label is wrong costs as much as it is large."""
    cases, wanted = [], []
    few = np.arange(200) < 16
    for place in (0, 3):
        states, labels, _ = planted(draw, shared=8.0, words=200, texts=1, width=8)
        folds = np.where(few, place, (np.arange(200) % 3 + place + 1) % 4)
        exchanged = np.where(labels == "food", "animal", "food")
        cases.append((states, np.where(few, exchanged, labels), folds))
        wanted.append(1 - few.mean())
    found = yield cases
    return bool(np.allclose(found, wanted, atol=0.03))


@check(
    "one-per-word",
    "control_labels",
    "A word has two control labels: then it cannot be learned by heart, and the control is easier to pass than it should be.",
)
def one_per_word(draw: np.random.Generator) -> Iterator[Any]:
    """All rows of a word share a control label, of those that there are."""
    calls = [(*planted(draw, kinds=3)[1:], number) for number in range(6)]
    found = yield calls
    return all(
        set(own) <= set(labels.tolist()) and all(len(each) == 1 for each in by_word(words, own).values())
        for (labels, words, _), own in zip(calls, found, strict=True)
    )


@check(
    "same-counts",
    "control_labels",
    "Count how many words have each label, before and after: a control keeps everything but which word has which.",
)
def same_counts(draw: np.random.Generator) -> Iterator[Any]:
    """As many words with each label as before, where labels are unequally frequent and words have unequal numbers of rows."""
    calls = []
    for number in range(6):
        of_word = draw.permutation(["animal"] * 11 + ["food"] * 5 + ["tool"] * 2)
        sizes = draw.integers(1, 9, len(of_word))
        names = np.array([f"word-{n}" for n in range(len(of_word))])
        order = draw.permutation(int(sizes.sum()))
        calls.append((np.repeat(of_word, sizes)[order], np.repeat(names, sizes)[order], number))
    found = yield calls
    counts = [
        Counter(max(each) for each in by_word(words, own).values())
        for (_, words, _), own in zip(calls, found, strict=True)
    ]
    return all(each == Counter({"animal": 11, "food": 5, "tool": 2}) for each in counts)


@check(
    "unrelated",
    "control_labels",
    "The words of one label have again one label in common, or always the same as in the last draw: a probe reads that as well as the true one.",
)
def unrelated(draw: np.random.Generator) -> Iterator[Any]:
    """Words of a label are spread over the control labels, differently for each seed."""
    _, labels, words = planted(draw, words=40, texts=2)
    found = yield [(labels, words, number) for number in range(30)]
    own = [[new == "food" for new, old in zip(each, labels, strict=True) if old == "food"] for each in found]
    shares = np.mean(own, axis=1)
    return len({tuple(each) for each in found}) > 25 and 0.4 < shares.mean() < 0.6 and shares.max() < 0.95


ENDS = [10, 20, 40, 80, 160]


@check(
    "first-block",
    "code_length",
    "Before the first label is known there is no probe: what does a label cost in bits, if all are equally likely?",
)
def first_block(draw: np.random.Generator) -> Iterator[Any]:
    """One block costs log2 K bits a label."""
    tables = [planted(draw, shared=4.0, kinds=kinds)[:2] for kinds in (2, 3)]
    found = yield [(*table, [160]) for table in tables]
    return bool(np.allclose(found, np.log2([2, 3]), atol=1e-6))


@check(
    "noise",
    "code_length",
    "Labels that were drawn by lot cannot be sent in fewer bits than by guessing, and need hardly more. What did the probe of a block see, and what does a label cost to which it gave the probability p?",
)
def noise(draw: np.random.Generator) -> Iterator[Any]:
    """About log2 K bits where the states say nothing, and no fewer."""
    tables = [planted(draw, kinds=kinds, words=160, texts=1, width=12)[:2] for kinds in (2, 2, 2, 3, 3, 3)]
    found = yield [(*table, ENDS) for table in tables]
    ratio = np.asarray(found, dtype=float) / np.log2([2, 2, 2, 3, 3, 3])
    return 0.97 < float(ratio.mean()) < 1.5


@check(
    "signal",
    "code_length",
    "A label that can be read without error costs little once it was learned, and most labels come after that. What is your mean taken over?",
)
def signal(draw: np.random.Generator) -> Iterator[Any]:
    """Few bits where the label can be read."""
    tables = [planted(draw, shared=6.0, kinds=kinds, width=12)[:2] for kinds in (2, 3)]
    found = yield [(*table, ENDS) for table in tables]
    ratio = np.asarray(found, dtype=float) / np.log2([2, 3])
    return bool((ratio > 0.03).all() and (ratio < 0.27).all())


@check(
    "new-label",
    "code_length",
    "A label that first occurs in a late block must have a price, high but finite: which labels does the probe of that block know of?",
)
def new_label(draw: np.random.Generator) -> Iterator[Any]:
    """A finite length where one of three labels occurs in the last block only."""
    tables = []
    for _ in range(3):
        states, labels, _ = planted(draw, shared=4.0, kinds=3, width=12)
        late = labels == "tool"
        order = np.concatenate([np.flatnonzero(~late), np.flatnonzero(late)])[:130]
        tables.append((states[order], labels[order], [10, 20, 40, 80, 130]))
    found = yield tables
    bits = np.asarray(found, dtype=float)
    return bool(np.isfinite(bits).all() and (bits > 0.3).all() and (bits < 12).all())


def tables_of(draw: np.random.Generator, shared: float = 0.0, own: tuple[float, ...] = (0.0,)) -> list[Any]:
    """The arguments of `verdict` for tables in which words have directions of their own of these lengths."""
    sizes: dict[str, int] = {"words": 60, "texts": 3, "width": 64}
    tables = [planted(draw, shared=shared, own=own[number % len(own)], **sizes) for number in range(TABLES)]
    return [(*table, number) for number, table in enumerate(tables)]


@check(
    "knows",
    "verdict",
    "States with a direction that all words of a label share are not recognised: on which words does it show, and beside what should the accuracy be set?",
)
def knows(draw: np.random.Generator) -> Iterator[Any]:
    """A shared direction is flagged, also where words can be memorised besides."""
    found = yield tables_of(draw, shared=8.0, own=(0.0, 9.0))
    return sum(each == "knows" for each in found) >= TABLES - 1


@check(
    "remembers",
    "verdict",
    "States that tell words apart, whose labels were drawn by lot, are not recognised. What can a probe do with words that it has seen, and with others?",
)
def remembers(draw: np.random.Generator) -> Iterator[Any]:
    """States that only identify words are flagged."""
    found = yield tables_of(draw, own=(9.0,))
    return sum(each == "remembers" for each in found) >= TABLES - 1


@check(
    "nothing",
    "verdict",
    "In states of noise you find something. How far from guessing may an accuracy lie by chance?",
)
def nothing(draw: np.random.Generator) -> Iterator[Any]:
    """Noise is flagged as such."""
    found = yield tables_of(draw)
    return sum(each == "nothing" for each in found) >= TABLES - 1


evidence = Choice(
    "evidence", "evidence", ("class", "words", "neither"), "words",
    "Look at the two columns of new sentences for the embeddings: what do they have in common, and what do true labels and control labels have in common?",
)  # fmt: skip
