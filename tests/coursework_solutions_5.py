"""Solutions of assignment 5, "Does the probe know or remember?": wrong ones with the cells that they must lose, and right ones.

The name of each is `function__misconception`. They use what the notebook provides: numpy as np, pairwise, `probabilities`, and the other functions.
"""

from itertools import pairwise

import numpy as np


def word_folds__rows(words, folds, seed):
    return (np.random.default_rng(seed).permutation(len(words)) % folds).tolist()


def word_folds__blocks_of_rows(words, folds, seed):
    return (np.arange(len(words)) * folds // len(words)).tolist()


def word_folds__alphabet(words, folds, seed):
    names, row = np.unique(words, return_inverse=True)
    return (np.arange(len(names)) * folds // len(names))[row].tolist()


def word_folds__drawn_for_each_word(words, folds, seed):
    names, row = np.unique(words, return_inverse=True)
    of_word = np.random.default_rng(seed).integers(folds, size=len(names))
    of_word[:folds] = np.arange(folds)
    return of_word[row].tolist()


def word_folds__rows_are_balanced(words, folds, seed):
    names, row, sizes = np.unique(words, return_inverse=True, return_counts=True)
    draw, load, of_word = np.random.default_rng(seed), np.zeros(folds), np.zeros(len(names), dtype=int)
    for name in draw.permutation(len(names)):
        of_word[name] = load.argmin()
        load[of_word[name]] += sizes[name]
    return of_word[row].tolist()


def held_out_accuracy__trained_on_all(states, labels, folds):
    kinds = np.unique(labels)
    told = probabilities(states, labels, states, kinds)  # noqa: F821
    return float(np.mean(kinds[told.argmax(axis=1)] == labels))


def held_out_accuracy__training_rows(states, labels, folds):
    folds, kinds, found = np.asarray(folds), np.unique(labels), []
    for fold in np.unique(folds):
        kept = folds != fold
        told = probabilities(states[kept], labels[kept], states[kept], kinds)  # noqa: F821
        found.append(np.mean(kinds[told.argmax(axis=1)] == labels[kept]))
    return float(np.mean(found))


def held_out_accuracy__rows_drawn_anew(states, labels, folds):
    kinds, right, rows = np.unique(labels), 0, np.random.default_rng(0).permutation(len(labels)) % 4
    for fold in range(4):
        test = rows == fold
        told = probabilities(states[~test], labels[~test], states[test], kinds)  # noqa: F821
        right += np.sum(kinds[told.argmax(axis=1)] == labels[test])
    return float(right / len(labels))


def held_out_accuracy__folds_weigh_the_same(states, labels, folds):
    folds, kinds, found = np.asarray(folds), np.unique(labels), []
    for fold in np.unique(folds):
        test = folds == fold
        told = probabilities(states[~test], labels[~test], states[test], kinds)  # noqa: F821
        found.append(np.mean(kinds[told.argmax(axis=1)] == labels[test]))
    return float(np.mean(found))


def held_out_accuracy__first_fold(states, labels, folds):
    test, kinds = np.asarray(folds) == 0, np.unique(labels)
    told = probabilities(states[~test], labels[~test], states[test], kinds)  # noqa: F821
    return float(np.mean(kinds[told.argmax(axis=1)] == labels[test]))


def held_out_accuracy__most_frequent(states, labels, folds):
    _, counts = np.unique(labels, return_counts=True)
    return float(counts.max() / len(labels))


def control_labels__shuffled_rows(labels, words, seed):
    return np.random.default_rng(seed).permutation(labels).tolist()


def control_labels__drawn_for_each_word(labels, words, seed):
    names, row = np.unique(words, return_inverse=True)
    return np.random.default_rng(seed).choice(np.unique(labels), len(names))[row].tolist()


def control_labels__classes_renamed(labels, words, seed):
    kinds, row = np.unique(labels, return_inverse=True)
    return np.roll(kinds, 1 + seed % (len(kinds) - 1))[row].tolist()


def control_labels__the_same_for_every_seed(labels, words, seed):
    _, first, row = np.unique(words, return_index=True, return_inverse=True)
    return np.random.default_rng(0).permutation(labels[first])[row].tolist()


def control_labels__shares_of_rows(labels, words, seed):
    names, row = np.unique(words, return_inverse=True)
    return np.random.default_rng(seed).choice(labels, len(names))[row].tolist()


def code_length__nats(states, labels, ends):
    kinds, numbers = np.unique(labels, return_inverse=True)
    total = ends[0] * np.log(len(kinds))
    for start, end in pairwise(ends):
        told = probabilities(states[:start], labels[:start], states[start:end], kinds)  # noqa: F821
        total -= np.log(told[np.arange(end - start), numbers[start:end]]).sum()
    return float(total / len(labels))


def code_length__block_in_training(states, labels, ends):
    kinds, numbers = np.unique(labels, return_inverse=True)
    bits = ends[0] * np.log2(len(kinds))
    for start, end in pairwise(ends):
        told = probabilities(states[:end], labels[:end], states[start:end], kinds)  # noqa: F821
        bits -= np.log2(told[np.arange(end - start), numbers[start:end]]).sum()
    return float(bits / len(labels))


def code_length__first_block_is_free(states, labels, ends):
    kinds, numbers = np.unique(labels, return_inverse=True)
    bits = 0.0
    for start, end in pairwise(ends):
        told = probabilities(states[:start], labels[:start], states[start:end], kinds)  # noqa: F821
        bits -= np.log2(told[np.arange(end - start), numbers[start:end]]).sum()
    return float(bits / len(labels))


def code_length__mean_of_blocks(states, labels, ends):
    kinds, numbers = np.unique(labels, return_inverse=True)
    bits = [np.log2(len(kinds))]
    for start, end in pairwise(ends):
        told = probabilities(states[:start], labels[:start], states[start:end], kinds)  # noqa: F821
        bits.append(-np.log2(told[np.arange(end - start), numbers[start:end]]).mean())
    return float(np.mean(bits))


def code_length__labels_seen_so_far(states, labels, ends):
    bits = ends[0] * np.log2(len(np.unique(labels)))
    for start, end in pairwise(ends):
        kinds = np.unique(labels[:start])
        told = probabilities(states[:start], labels[:start], states[start:end], kinds)  # noqa: F821
        bits -= sum(
            np.log2(row[list(kinds).index(label)]) for row, label in zip(told, labels[start:end], strict=True)
        )
    return float(bits / len(labels))


def code_length__probability_of_the_best(states, labels, ends):
    kinds = np.unique(labels)
    bits = ends[0] * np.log2(len(kinds))
    for start, end in pairwise(ends):
        told = probabilities(states[:start], labels[:start], states[start:end], kinds)  # noqa: F821
        bits -= np.log2(told.max(axis=1)).sum()
    return float(bits / len(labels))


def verdict__new_rows_are_enough(states, labels, words, seed):
    by_row = np.random.default_rng(seed).permutation(len(labels)) % 4
    return "knows" if held_out_accuracy(states, labels, by_row) > 0.7 else "nothing"  # noqa: F821


def verdict__fits_its_training_rows(states, labels, words, seed):
    kinds = np.unique(labels)
    fitted = kinds[probabilities(states, labels, states, kinds).argmax(axis=1)] == labels  # noqa: F821
    unseen = held_out_accuracy(states, labels, word_folds(words, 4, seed))  # noqa: F821
    return "knows" if unseen > 0.7 else "remembers" if fitted.mean() > 0.7 else "nothing"


def verdict__above_one_half(states, labels, words, seed):
    unseen = held_out_accuracy(states, labels, word_folds(words, 4, seed))  # noqa: F821
    seen = held_out_accuracy(states, labels, np.arange(len(labels)) % 4)  # noqa: F821
    return "knows" if unseen > 0.5 else "remembers" if seen > 0.5 else "nothing"


def verdict__control_on_known_words(states, labels, words, seed):
    by_row = np.random.default_rng(seed).permutation(len(labels)) % 4
    control = held_out_accuracy(states, np.array(control_labels(labels, words, seed)), by_row)  # noqa: F821
    own = held_out_accuracy(states, labels, by_row)  # noqa: F821
    return "knows" if own > control + 0.25 else "remembers" if control > 0.7 else "nothing"


WRONG = {
    "word_folds__rows": {"no-leak", "even"},
    "word_folds__blocks_of_rows": {"no-leak", "even", "by-chance"},
    "word_folds__alphabet": {"by-chance"},
    "word_folds__drawn_for_each_word": {"even"},
    "word_folds__rows_are_balanced": {"even"},
    "held_out_accuracy__trained_on_all": {"remembered"},
    "held_out_accuracy__training_rows": {"remembered"},
    "held_out_accuracy__rows_drawn_anew": {"remembered"},
    "held_out_accuracy__folds_weigh_the_same": {"every-row"},
    "held_out_accuracy__first_fold": {"every-row"},
    "held_out_accuracy__most_frequent": {"shared", "every-row"},
    "control_labels__shuffled_rows": {"one-per-word", "same-counts"},
    "control_labels__drawn_for_each_word": {"same-counts"},
    "control_labels__classes_renamed": {"same-counts", "unrelated"},
    "control_labels__the_same_for_every_seed": {"unrelated"},
    "control_labels__shares_of_rows": {"same-counts"},
    "code_length__nats": {"first-block", "noise"},
    "code_length__block_in_training": {"noise", "new-label"},
    "code_length__first_block_is_free": {"first-block"},
    "code_length__mean_of_blocks": {"signal"},
    "code_length__labels_seen_so_far": {"new-label"},
    "code_length__probability_of_the_best": {"noise", "new-label"},
    "verdict__new_rows_are_enough": {"remembers"},
    "verdict__fits_its_training_rows": {"nothing"},
    "verdict__above_one_half": {"nothing", "remembers"},
    "verdict__control_on_known_words": {"knows"},
}


# Right, by other algorithms


def word_folds__right(words, folds, seed):
    """Words dealt like cards."""
    cards = sorted({str(word) for word in words})
    np.random.RandomState(seed).shuffle(cards)
    hands = [cards[place::folds] for place in range(folds)]
    return [next(place for place, hand in enumerate(hands) if str(word) in hand) for word in words]


def held_out_accuracy__right(states, labels, folds):
    """Ridge regression on codes of the labels."""
    folds, kinds = np.asarray(folds), sorted(set(np.asarray(labels).tolist()))
    codes = np.array([[label == kind for kind in kinds] for label in labels], dtype=float)
    right = []
    for fold in sorted(set(folds.tolist())):
        train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        centre = states[train].mean(axis=0)
        known, new = states[train] - centre, states[test] - centre
        targets = codes[train] / np.maximum(codes[train].mean(axis=0), 1e-9) - 1
        gram = known.T @ known
        ridge = 0.2 * np.trace(gram) / len(gram) * np.eye(len(gram))
        told = (new @ np.linalg.solve(gram + ridge, known.T @ targets)).argmax(axis=1)
        right += [codes[row, column] for row, column in zip(test, told, strict=True)]
    return float(np.mean(right))


def control_labels__right(labels, words, seed):
    """Words in random order are given the labels of the words in another one."""
    label_of = dict(zip(words.tolist(), labels.tolist(), strict=True))
    draw = np.random.RandomState(seed)
    givers, takers = sorted(label_of), sorted(label_of)
    draw.shuffle(givers)
    draw.shuffle(takers)
    given = {taker: label_of[giver] for taker, giver in zip(takers, givers, strict=True)}
    return [given[word] for word in words.tolist()]


def code_length__right(states, labels, ends):
    """Gaussians with a common spherical variance, mixed with a uniform guess."""
    kinds = sorted(set(labels.tolist()))
    bits = np.full(len(labels), np.log2(len(kinds)))
    for start, end in pairwise(ends):
        known, told = states[:start], labels[:start]
        means = {kind: known[told == kind].mean(axis=0) for kind in kinds if np.any(told == kind)}
        spread = np.mean([np.mean((row - means[label]) ** 2) for row, label in zip(known, told, strict=True)])
        spread = 1.5 * spread * start / max(1, start - len(means)) + 1e-9
        for row in range(start, end):
            logs = np.array([-np.sum((states[row] - mean) ** 2) / (2 * spread) for mean in means.values()])
            odds = dict(zip(means, np.exp(logs - np.logaddexp.reduce(logs)), strict=True))
            bits[row] = -np.log2(0.9 * odds.get(labels[row], 0.0) + 0.1 / len(kinds))
    return float(bits.mean())


def verdict__right(states, labels, words, seed):
    """The distance of the classes' means, in words and in rows, against labels that were shuffled."""
    draw = np.random.default_rng(seed)
    names, row = np.unique(words, return_inverse=True)
    means = np.array([states[row == place].mean(axis=0) for place in range(len(names))])
    own = labels[np.unique(words, return_index=True)[1]]

    def apart(of_word):
        sides = [means[of_word == kind].mean(axis=0) for kind in np.unique(own)]
        return sum(np.sum((side - means.mean(axis=0)) ** 2) for side in sides)

    by_chance = [apart(draw.permutation(own)) for _ in range(400)]
    if apart(own) > 1.15 * max(by_chance):
        return "knows"
    within = np.mean((states - means[row]) ** 2)
    between = np.mean((means - means.mean(axis=0)) ** 2) * len(labels) / len(names)
    return "remembers" if between > 2 * within else "nothing"


RIGHT = (
    "word_folds__right",
    "held_out_accuracy__right",
    "control_labels__right",
    "code_length__right",
    "verdict__right",
)
