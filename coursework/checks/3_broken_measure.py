"""Checks of assignment 3, "A broken measure": toy models whose path probabilities are known."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from workbench.grading import Choice, check

Table = dict[str, dict[str, float]]
_WORDS = ("Anna", "Ben", "Leo", "has", "four", "pears", "in", "the", "house")


def words(draw: np.random.Generator, most: int = 3) -> tuple[list[str], list[str]]:
    """An answer and a continuation, of one to `most` different tokens each."""
    picked = draw.permutation(_WORDS)
    first, second = draw.integers(1, most + 1, 2)
    return [f" {word}" for word in picked[:first]], [f" {word}" for word in picked[first : first + second]]


def plant(table: Table, path: list[str], nats: float) -> None:
    """Give a path this log-probability: its first token has all of it, unless the table knows that token."""
    text = ""
    left = nats
    for token in path:
        known = table.setdefault(text, {})
        known.setdefault(token, left)
        left -= known[token]
        text += token
    assert abs(left) < 1e-9


def toy(
    answer: list[str], other: list[str], direct: tuple[float, float], closed: tuple[float, float], mark: str
) -> Table:
    """A model in which answer and continuation have these log-probabilities, directly and after the mark."""
    table: Table = {"": {mark: -0.7}}
    for path, at_once, after in zip((answer, other), direct, closed, strict=True):
        plant(table, path, at_once)
        plant(table, [mark, *path], after)
    return table


def case(
    draw: np.random.Generator, direct: tuple[float, float], closed: tuple[float, float]
) -> tuple[Any, ...]:
    """The arguments of `preference` for a toy model with a mark of its own."""
    answer, other = words(draw)
    mark = str(draw.choice([".", "?", "!"]))
    return toy(answer, other, direct, closed, mark), answer, other, mark


@check(
    "chain-rule",
    "path_logprob",
    "The log-probability of a path is the sum over its tokens, each given the text before it.",
)
def chain_rule(draw: np.random.Generator) -> Iterator[Any]:
    """A walk down a random tree."""
    asked, wanted = [], []
    for _ in range(5):
        path, numbers, text = words(draw, 4)[0], (-draw.exponential(2.0, 8)).tolist(), ""
        table: Table = {}
        for token, number in zip(path, numbers, strict=False):
            table[text] = {token: number, " other": -0.1}
            text += token
        asked.append((table, path))
        wanted.append(sum(numbers[: len(path)]))
    found = yield asked
    return bool(np.allclose(found, wanted, atol=1e-9))


@check(
    "impossible",
    "path_logprob",
    "A token that the model does not know at that place has probability 0: what is its logarithm?",
)
def impossible(draw: np.random.Generator) -> Iterator[Any]:
    """Minus infinity for an unknown token, and for one after an unknown text."""
    answer, other = words(draw, 2)
    table: Table = {}
    plant(table, answer, -1.0)
    found = yield [(table, other), (table, [*answer, *other]), (table, [*other, *answer])]
    return all(each == -math.inf for each in found)


@check(
    "second-path",
    "preference",
    "Look at what the model writes first when the prompt is open. The answer can be reached by more than one path.",
)
def second_path(draw: np.random.Generator) -> Iterator[Any]:
    """The answer comes after the mark; directly, the continuation is likelier."""
    numbers = [(-draw.uniform(9, 14), -draw.uniform(2, 4)) for _ in range(4)]
    closed = [(-1.0 - draw.random(), -20.0) for _ in range(4)]
    found = yield [case(draw, direct, after) for direct, after in zip(numbers, closed, strict=True)]
    wanted = [
        np.logaddexp(d[0], c[0]) - np.logaddexp(d[1], c[1]) for d, c in zip(numbers, closed, strict=True)
    ]
    return bool(np.allclose(found, wanted, atol=1e-6))


@check(
    "fair",
    "preference",
    "Whatever path you grant the answer, grant the continuation too: otherwise the measure cannot turn against the answer.",
)
def fair(draw: np.random.Generator) -> Iterator[Any]:
    """The continuation comes after the mark; exchanging the two texts changes the sign."""
    cases = [case(draw, (-draw.uniform(3, 5), -12.0), (-15.0, -1.0 - draw.random())) for _ in range(3)]
    found = yield [*cases, *((table, other, answer, mark) for table, answer, other, mark in cases)]
    first, second = np.asarray(found, dtype=float).reshape(2, 3)
    return bool((first < 0).all() and np.allclose(first, -second, atol=1e-9))


@check(
    "lengths",
    "preference",
    "A short text and a long one of the same probability are equally likely: did you divide by something?",
)
def lengths(draw: np.random.Generator) -> Iterator[Any]:
    """Equal probabilities, one token against six: no preference."""
    answer, other = [" Anna"], [f" {word}" for word in draw.permutation(_WORDS[1:])[:6]]
    direct, closed = -float(draw.uniform(5, 8)), -float(draw.uniform(2, 4))
    found = yield [(toy(answer, other, (direct, direct), (closed, closed), "."), answer, other, ".")]
    return abs(float(found[0])) < 1e-6


@check(
    "far-away",
    "preference",
    "At -900 nats a probability is 0 in floating point, and its logarithm is lost: can you add without leaving the logarithms?",
)
def far_away(draw: np.random.Generator) -> Iterator[Any]:
    """Exact where exp underflows."""
    low = -float(draw.uniform(900, 990))
    found = yield [case(draw, (low, low - 3), (low - 1, low - 2))]
    wanted = np.logaddexp(low, low - 1) - np.logaddexp(low - 3, low - 2)
    return abs(float(found[0]) - wanted) < 1e-6


@check(
    "once",
    "preference",
    "With a prompt that needs no mark (mark = ''), both paths are the same path, and a path is counted once.",
)
def once(draw: np.random.Generator) -> Iterator[Any]:
    """Without a mark: the difference of the direct paths, against a text that can be reached in one way only."""
    answer, other = words(draw, 1)
    table: Table = {"": {answer[0]: -1.0, other[0]: -2.5, ".": -0.5}, ".": {}}
    half = {**table, ".": {other[0]: -2.0}}
    found = yield [(table, answer, other, ""), (half, answer, other, "."), (half, answer, other, "")]
    return bool(np.allclose(found, [1.5, -1.0 - np.logaddexp(-2.5, -2.5), 1.5], atol=1e-6))


predicted_base = Choice(
    "predicted-base", "predicted_base", ("answers", "continues"), None, ""
)  # a prediction counts when it is made
predicted_p3 = Choice("predicted-p3", "predicted_p3", ("answers", "continues"), None, "")
corrected = Choice(
    "corrected", "corrected", ("all three", "two of three", "none"), "two of three",
    "Count in the last table for how many of the three models the majority of prompts changes sides when the measure is mended.",
)  # fmt: skip
