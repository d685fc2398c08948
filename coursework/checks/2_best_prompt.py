"""Checks of assignment 2, "Is the best prompt better?": error rates on matrices whose truth was planted.

The thresholds leave a correct solution a chance below 1 in 10,000 to fail by an unlucky draw.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from workbench.grading import Choice, check

MATRICES = 100
TOO_MANY = 16  # p-values below 0.05 among 100: with 5 % true, more occur once in 50,000 draws


def null_matrix(
    draw: np.random.Generator, clusters: int, size: int, templates: int
) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes in which no wording is better; all items of a cluster share the outcome, wording by wording."""
    easy = draw.beta(1.5, 1.5, (clusters, 1))
    outcomes = (draw.random((clusters, templates)) < easy).astype(int)
    return np.repeat(outcomes, size, axis=0), np.repeat(np.arange(clusters), size)


def planted(
    draw: np.random.Generator, gain: float, clusters: int = 30, templates: int = 5
) -> tuple[np.ndarray, np.ndarray, int]:
    """Outcomes in which one wording is better by `gain`, and which."""
    chance = np.full(templates, 0.45)
    best = int(draw.integers(templates))
    chance[best] += gain
    outcomes = (draw.random((clusters, templates)) < chance).astype(int)
    return outcomes, np.arange(clusters), best


@check(
    "false-alarms",
    "p_value",
    "On matrices in which no wording is better, more than one in twenty of your p-values is below 0.05: what may be shuffled, and what must stay?",
)
def false_alarms(draw: np.random.Generator) -> Iterator[Any]:
    """At most 5 % below 0.05 where wordings do not differ but items differ much; and not all p-values large."""
    found = yield [(*null_matrix(draw, 24, 1, 4), 99, number) for number in range(MATRICES)]
    p = np.asarray(found, dtype=float)
    return bool(((p > 0) & (p <= 1)).all() and np.sum(p <= 0.05) <= TOO_MANY and np.median(p) < 0.9)


@check(
    "power",
    "p_value",
    "A wording that is right 45 points more often than the others must be found: which statistic grows when one wording is better, and which side of its distribution counts?",
)
def power(draw: np.random.Generator) -> Iterator[Any]:
    """A planted wording is found, and a null is not called certain."""
    found = yield [(*planted(draw, 0.45)[:2], 199, number) for number in range(12)]
    return float(np.median(np.asarray(found, dtype=float))) <= 0.05


@check(
    "never-zero",
    "p_value",
    "Can a p-value be 0 after 99 shuffles? The labelling that was observed is one of those that might have occurred.",
)
def never_zero(draw: np.random.Generator) -> Iterator[Any]:
    """The observed labelling counts: at least 1 / (permutations + 1)."""
    outcomes = np.zeros((40, 4), dtype=int)
    outcomes[:, int(draw.integers(4))] = 1
    sizes = [19, 49, 99]
    found = yield [(outcomes, np.arange(40), size, 0) for size in sizes]
    return bool(np.allclose(found, [1 / (size + 1) for size in sizes], atol=1e-6))


@check(
    "row-order",
    "p_value",
    "The order of the items carries no information: shuffle the rows, with their clusters, and compare.",
)
def row_order(draw: np.random.Generator) -> Iterator[Any]:
    """The same p-value, up to the noise of shuffling, for rows and columns in another order."""
    outcomes, clusters = planted(draw, 0.15, clusters=24)[:2]
    outcomes, clusters = np.repeat(outcomes, 2, axis=0), np.repeat(clusters, 2)
    calls = []
    for number in range(6):
        rows = draw.permutation(len(outcomes)) if number else np.arange(len(outcomes))
        columns = draw.permutation(outcomes.shape[1]) if number > 3 else np.arange(outcomes.shape[1])
        calls.append((outcomes[rows][:, columns], clusters[rows], 999, number))
    found = yield calls
    p = np.asarray(found, dtype=float)
    return bool(np.ptp(p) < 8 * np.sqrt(max(p.mean() * (1 - p.mean()), 0.001) / 999) and p.max() <= 1)


@check(
    "whole-clusters",
    "p_value",
    "Items of one cluster rise and fall together. Shuffled one by one, they look like much more evidence than they are.",
)
def whole_clusters(draw: np.random.Generator) -> Iterator[Any]:
    """At most 5 % below 0.05 where each cluster has eight equal items."""
    found = yield [(*null_matrix(draw, 16, 8, 4), 99, number) for number in range(MATRICES)]
    return int(np.sum(np.asarray(found, dtype=float) <= 0.05)) <= TOO_MANY


def reports(found: list[Any]) -> np.ndarray:
    """The reported accuracies, shape (N,)."""
    return np.array([float(each["accuracy"]) for each in found])


@check(
    "honest-report",
    "choose_and_report",
    "On matrices whose wordings are all right half of the time, the accuracy that you report is above one half on average. Which items chose the wording?",
)
def honest_report(draw: np.random.Generator) -> Iterator[Any]:
    """Unbiased where nothing is better: 200 matrices of 20 items in 8 wordings."""
    tables = [(draw.random((20, 8)) < 0.5).astype(int) for _ in range(200)]
    found = yield [(table, np.arange(20), number) for number, table in enumerate(tables)]
    # one report has a deviation of .16 around .5, so the mean of 200 one of .011; choosing on the same items adds .1
    return bool(abs(reports(found).mean() - 0.5) < 0.045)


@check(
    "finds-the-best",
    "choose_and_report",
    "With one wording far above the others it must be chosen, and its accuracy reported as a fraction.",
)
def finds_the_best(draw: np.random.Generator) -> Iterator[Any]:
    """The planted wording is chosen, and reported near its true accuracy."""
    cases = [planted(draw, 0.5, clusters=60) for _ in range(8)]
    found = yield [(outcomes, clusters, number) for number, (outcomes, clusters, _) in enumerate(cases)]
    right = [each["best"] == best for each, (_, _, best) in zip(found, cases, strict=True)]
    return sum(right) >= 7 and bool(abs(reports(found).mean() - 0.95) < 0.05)


@check(
    "whole-halves",
    "choose_and_report",
    "If items of one cluster fall into both halves, the second half has seen the first: the report is too good.",
)
def whole_halves(draw: np.random.Generator) -> Iterator[Any]:
    """Unbiased where each of ten clusters has six equal items."""
    tables = [np.repeat((draw.random((10, 8)) < 0.5).astype(int), 6, axis=0) for _ in range(200)]
    orders = [draw.permutation(60) for _ in tables]
    clusters = np.repeat(np.arange(10), 6)
    found = yield [
        (table[order], clusters[order], number)
        for number, (table, order) in enumerate(zip(tables, orders, strict=True))
    ]
    # one report has a deviation of .22; split item by item, the mean is above .65
    return bool(abs(reports(found).mean() - 0.5) < 0.065)


verdict = Choice(
    "verdict", "verdict", ("better", "no evidence", "equal"), "no evidence",
    "Read the p-value of x-sw again, and remember that not finding a difference is not the same as showing that there is none.",
)  # fmt: skip
