"""Solutions of assignment 4, "Who transfers?": wrong ones with the cells that they must lose, and right ones by other algorithms.

The name of each is `function__misconception`. They use what the notebook provides: numpy as np, math, Counter, and the other functions.
"""

import math
from collections import Counter

import numpy as np


def gain__own_items(base, tuned, chance):
    before, after = np.mean(list(base.values())), np.mean(list(tuned.values()))
    return {"gain": after - before, "share": (max(after, chance) - max(before, chance)) / (1 - chance)}


def gain__missing_is_wrong(base, tuned, chance):
    items = {**base, **tuned}
    before, after = (np.mean([each.get(item, 0) for item in items]) for each in (base, tuned))
    return {"gain": after - before, "share": (max(after, chance) - max(before, chance)) / (1 - chance)}


def gain__by_position(base, tuned, chance):
    pairs = list(zip(base.values(), tuned.values(), strict=False))
    before, after = np.mean(pairs, axis=0)
    return {"gain": after - before, "share": (max(after, chance) - max(before, chance)) / (1 - chance)}


def gain__relative_to_the_base(base, tuned, chance):
    both = base.keys() & tuned.keys()
    before, after = (np.mean([each[item] for item in both]) for each in (base, tuned))
    return {"gain": after - before, "share": (after - before) / before}


def gain__of_what_was_left(base, tuned, chance):
    both = base.keys() & tuned.keys()
    before, after = (np.mean([each[item] for item in both]) for each in (base, tuned))
    return {
        "gain": after - before,
        "share": (max(after, chance) - max(before, chance)) / (1 - max(before, chance)),
    }


def gain__below_chance_is_less_than_nothing(base, tuned, chance):
    both = base.keys() & tuned.keys()
    before, after = (np.mean([each[item] for item in both]) for each in (base, tuned))
    return {"gain": after - before, "share": (after - before) / (1 - chance)}


def within_task__plain_means(gains, tasks, groups):
    return gains[groups].mean() - gains[~groups].mean()


def within_task__centred_gains(gains, tasks, groups):
    centred = gains.copy()
    for task in set(tasks):
        centred[tasks == task] -= gains[tasks == task].mean()
    return centred[groups].mean() - centred[~groups].mean()


def within_task__weighted_by_languages(gains, tasks, groups):
    found, weights = [], []
    for task in set(tasks):
        here = tasks == task
        if 0 < groups[here].sum() < here.sum():
            found.append(gains[here & groups].mean() - gains[here & ~groups].mean())
            weights.append(here.sum())
    return np.average(found, weights=weights)


def within_task__regression_on_dummies(gains, tasks, groups):
    dummies = (tasks[:, None] == np.unique(tasks)).astype(float)
    return np.linalg.lstsq(np.column_stack([groups, dummies]), gains, rcond=None)[0][0]


def within_task__mean_of_task_means(gains, tasks, groups):
    means = [
        np.mean([gains[side & (tasks == task)].mean() for task in np.unique(tasks[side])])
        for side in (groups, ~groups)
    ]
    return means[0] - means[1]


def within_task__nothing_is_zero(gains, tasks, groups):
    found = []
    for task in set(tasks):
        sides = [gains[(tasks == task) & side] for side in (groups, ~groups)]
        means = [side.mean() if len(side) else 0.0 for side in sides]
        found.append(means[0] - means[1])
    return np.mean(found)


def within_task__second_minus_first(gains, tasks, groups):
    common = [task for task in set(tasks) if 0 < groups[tasks == task].sum() < (tasks == task).sum()]
    return np.mean(
        [gains[(tasks == t) & ~groups].mean() - gains[(tasks == t) & groups].mean() for t in common]
    )


def reversal__equal_numbers(gap):
    gains = [60 + gap, 60 + gap, 60, 60, gap, gap, 0, 0]
    return {"gains": gains, "tasks": ["easy"] * 4 + ["hard"] * 4, "groups": [True, True, False, False] * 2}


def reversal__one_task_is_negative(gap):
    gains = [gap, 0.0, -3 * gap, 0.0]
    return {"gains": gains, "tasks": ["a", "a", "b", "b"], "groups": [True, False, True, False]}


def reversal__too_small(gap):
    gains = [30 + gap] + [30] * 3 + [gap] * 3 + [0]
    return {
        "gains": gains,
        "tasks": ["easy"] * 4 + ["hard"] * 4,
        "groups": [True, False, False, False, True, True, True, False],
    }


def reversal__groups_apart(gap):
    return {"gains": [gap, gap, 60, 60], "tasks": ["a", "a", "b", "b"], "groups": [True, True, False, False]}


def interval__rows(gains, tasks, groups, languages, seed):
    draw, found = np.random.default_rng(seed), []
    for _ in range(200):
        rows = draw.integers(len(gains), size=len(gains))
        found.append(within_task(gains[rows], tasks[rows], groups[rows]))  # noqa: F821
    return np.quantile(found, [0.025, 0.975])


def interval__each_task_on_its_own(gains, tasks, groups, languages, seed):
    draw, found = np.random.default_rng(seed), []
    cells = [
        np.flatnonzero((tasks == task) & (groups == side))
        for task in np.unique(tasks)
        for side in (True, False)
    ]
    for _ in range(200):
        rows = np.concatenate([cell[draw.integers(len(cell), size=len(cell))] for cell in cells])
        found.append(within_task(gains[rows], tasks[rows], groups[rows]))  # noqa: F821
    return np.quantile(found, [0.025, 0.975])


def interval__plain_means(gains, tasks, groups, languages, seed):
    draw, found = np.random.default_rng(seed), []
    rows_of = [np.flatnonzero(languages == name) for name in np.unique(languages)]
    for _ in range(200):
        rows = np.concatenate([rows_of[place] for place in draw.integers(len(rows_of), size=len(rows_of))])
        found.append(gains[rows][groups[rows]].mean() - gains[rows][~groups[rows]].mean())
    return np.quantile(found, [0.025, 0.975])


def interval__standard_error(gains, tasks, groups, languages, seed):
    draw, found = np.random.default_rng(seed), []
    rows_of = [np.flatnonzero(languages == name) for name in np.unique(languages)]
    for _ in range(200):
        rows = np.concatenate([rows_of[place] for place in draw.integers(len(rows_of), size=len(rows_of))])
        found.append(within_task(gains[rows], tasks[rows], groups[rows]))  # noqa: F821
    return [np.mean(found) - np.std(found), np.mean(found) + np.std(found)]


def interval__range_of_the_draws(gains, tasks, groups, languages, seed):
    draw, found = np.random.default_rng(seed), []
    rows_of = [np.flatnonzero(languages == name) for name in np.unique(languages)]
    for _ in range(400):
        rows = np.concatenate([rows_of[place] for place in draw.integers(len(rows_of), size=len(rows_of))])
        found.append(within_task(gains[rows], tasks[rows], groups[rows]))  # noqa: F821
    return [min(found), max(found)]


def interval__spread_of_the_gains(gains, tasks, groups, languages, seed):
    spread = 1.96 * np.std(gains)
    estimate = within_task(gains, tasks, groups)  # noqa: F821
    return [estimate - spread, estimate + spread]


def ngram_choices__whole_words(texts, labels, new_texts):
    sizes = Counter(labels)
    counts = {label: Counter() for label in sizes}
    for text, label in zip(texts, labels, strict=True):
        counts[label].update(set(text.split()))
    return [
        max(
            sizes,
            key=lambda c: sum(math.log((counts[c][w] + 0.5) / (sizes[c] + 1)) for w in set(text.split())),
        )
        for text in new_texts
    ]


def ngram_choices__single_letters(texts, labels, new_texts):
    sizes = Counter(labels)
    counts = {label: Counter() for label in sizes}
    for text, label in zip(texts, labels, strict=True):
        counts[label].update(set(text))
    return [
        max(sizes, key=lambda c: sum(math.log((counts[c][one] + 0.5) / (sizes[c] + 1)) for one in set(text)))
        for text in new_texts
    ]


def ngram_choices__most_frequent(texts, labels, new_texts):
    return [Counter(labels).most_common(1)[0][0]] * len(new_texts)


def ngram_choices__raw_counts(texts, labels, new_texts):
    counts = {label: Counter() for label in set(labels)}
    for text, label in zip(texts, labels, strict=True):
        counts[label].update(text[place : place + 3] for place in range(len(text) - 2))
    return [
        max(
            sorted(counts),
            key=lambda c: sum(counts[c][text[place : place + 3]] for place in range(len(text) - 2)),
        )
        for text in new_texts
    ]


def ngram_choices__halves_of_the_test(texts, labels, new_texts):
    def ngrams(text):
        return {text[place : place + 3] for place in range(len(text) - 2)}

    sizes = Counter(labels)
    counts = {label: Counter() for label in sorted(sizes)}
    for text, label in zip(texts, labels, strict=True):
        counts[label].update(ngrams(text))
    scores = np.array(
        [
            [
                sum(math.log((own[one] + 0.5) / (sizes[label] + 1)) for one in ngrams(text))
                for label, own in counts.items()
            ]
            for text in new_texts
        ]
    )
    if len(counts) == 2:  # half of the new texts must be of either label
        scores[:, 0] += np.median(scores[:, 1] - scores[:, 0])
    return [[*counts][place] for place in scores.argmax(axis=1)]


WRONG = {
    "gain__own_items": {"same-items"},
    "gain__missing_is_wrong": {"same-items"},
    "gain__by_position": {"same-items"},
    "gain__relative_to_the_base": {"headroom"},
    "gain__of_what_was_left": {"headroom"},
    "gain__below_chance_is_less_than_nothing": {"headroom"},
    "within_task__plain_means": {"composition", "equal-tasks", "one-sided"},
    "within_task__centred_gains": {"composition", "equal-tasks", "one-sided"},
    "within_task__weighted_by_languages": {"equal-tasks"},
    "within_task__regression_on_dummies": {"equal-tasks"},
    "within_task__mean_of_task_means": {"one-sided"},
    "within_task__nothing_is_zero": {"one-sided"},
    "within_task__second_minus_first": {"composition", "equal-tasks", "one-sided"},
    "reversal__equal_numbers": {"reversal-works"},
    "reversal__one_task_is_negative": {"reversal-works"},
    "reversal__too_small": {"reversal-works"},
    "reversal__groups_apart": {"reversal-works"},
    "interval__rows": {"coverage", "clusters"},
    "interval__each_task_on_its_own": {"coverage", "clusters"},
    "interval__plain_means": {"coverage"},
    "interval__standard_error": {"coverage"},
    "interval__range_of_the_draws": {"narrow"},
    "interval__spread_of_the_gains": {"clusters", "narrow"},
    "ngram_choices__whole_words": {"letters", "unbalanced"},
    "ngram_choices__single_letters": {"letters", "unbalanced"},
    "ngram_choices__most_frequent": {"letters", "unbalanced"},
    "ngram_choices__raw_counts": {"unbalanced"},
    "ngram_choices__halves_of_the_test": {"alone"},
}


# Right, by other algorithms


def gain__right(base, tuned, chance):
    right = np.array([(base[item], tuned[item]) for item in sorted(set(base) & set(tuned))], dtype=float)
    floor = np.maximum(right.mean(axis=0), chance)
    return {
        "gain": (right[:, 1] - right[:, 0]).mean(),
        "share": np.ptp(floor) * np.sign(np.diff(floor)[0]) / (1 - chance),
    }


def within_task__right(gains, tasks, groups):
    """A regression on a mean and a gap for each task that has both groups."""
    names = [one for one in np.unique(tasks) if np.ptp(groups[tasks == one].astype(int))]
    kept = np.isin(tasks, names)
    of_task = (tasks[kept][:, None] == names).astype(float)
    design = np.hstack([of_task, of_task * groups[kept][:, None]])
    return np.linalg.lstsq(design, gains[kept], rcond=None)[0][len(names) :].mean()


def reversal__right(gap):
    gains, tasks, groups = [], [], []
    for level, firsts, seconds in ((0, 10, 1), (35, 2, 2), (70, 1, 10)):
        gains += [level + gap] * firsts + [level] * seconds
        tasks += [f"at {level}"] * (firsts + seconds)
        groups += [True] * firsts + [False] * seconds
    return {"gains": gains, "tasks": tasks, "groups": groups}


def interval__right(gains, tasks, groups, languages, seed):
    """A jackknife over languages, within groups, with the quantile of a t distribution."""
    variance = 0.0
    for side in (True, False):
        names, columns = np.unique(languages[groups == side]), (gains, tasks, groups)
        kept = [languages != name for name in names]
        left = [within_task(*(column[rows] for column in columns)) for rows in kept]  # noqa: F821
        variance += (len(names) - 1) * np.var(left)
    half = 2.07 * math.sqrt(variance)
    estimate = within_task(gains, tasks, groups)  # noqa: F821
    return estimate - half, estimate + half


def ngram_choices__right(texts, labels, new_texts):
    """Ridge regression on runs of letters, with labels weighted equally."""
    runs = [
        {text[place : place + n] for n in (2, 3, 4) for place in range(len(text) - n + 1)} for text in texts
    ]
    numbers = {one: place for place, one in enumerate(sorted(set().union(*runs)))}
    kinds = sorted(set(labels))
    seen = np.zeros((len(texts), len(numbers)))
    for row, own in zip(seen, runs, strict=True):
        row[[numbers[one] for one in own]] = 1
    targets = np.array([[label == kind for kind in kinds] for label in labels], dtype=float)
    targets = targets / targets.mean(axis=0) - 1
    kernel = seen @ seen.T
    weights = seen.T @ np.linalg.solve(
        kernel + np.eye(len(texts)) * kernel.trace() / len(texts) / 20, targets
    )
    found = []
    for text in new_texts:
        own = {text[place : place + n] for n in (2, 3, 4) for place in range(len(text) - n + 1)}
        score = weights[[numbers[one] for one in own if one in numbers]].sum(axis=0)
        found.append(kinds[int(score.argmax())])
    return found


RIGHT = ("gain__right", "within_task__right", "reversal__right", "interval__right", "ngram_choices__right")
