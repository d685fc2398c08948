"""Checks of assignment 1, "What is a score?": properties of fresh arrays, and equality with `rank` on the miniatures."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from workbench.grading import Choice, check

LIMIT = {"bloom": 2048, "mt5": 512}
NEAR = 1e-4  # nats
RANKED = json.loads(Path(__file__).with_name("token_scores.json").read_text(encoding="utf-8"))


def expected_logprobs(logits: np.ndarray, ids: np.ndarray, n_prompt: int) -> np.ndarray:
    """The log-probabilities of the tokens after the prompt, each read from the row before it."""
    rows = logits[n_prompt - 1 : -1]
    top = rows.max(axis=1)
    norms = top + np.log(np.exp(rows - top[:, None]).sum(axis=1))
    return rows[np.arange(len(rows)), ids[n_prompt:]] - norms


def sequence(draw: np.random.Generator, scale: float) -> tuple[np.ndarray, np.ndarray, int]:
    """Logits of a prompt and a choice, their ids, and the length of the prompt."""
    n_prompt, n_choice, words = draw.integers(2, 6), draw.integers(2, 5), 11
    n = n_prompt + n_choice
    return draw.normal(0, scale, (n, words)), draw.integers(0, words, n), int(n_prompt)


@check(
    "alignment",
    "choice_logprobs",
    "Row i of the logits speaks about the token after token i: look at which rows you read, and over what you normalise.",
)
def alignment(draw: np.random.Generator) -> Iterator[Any]:
    """Equal to the chain rule on random logits."""
    asked = [sequence(draw, 2.0) for _ in range(6)]
    found = yield asked
    return all(
        np.allclose(each, expected_logprobs(*one), atol=1e-6) for each, one in zip(found, asked, strict=True)
    )


@check(
    "large-logits",
    "choice_logprobs",
    "With logits of some hundreds the result must still be a finite number: which step leaves the range of floating point?",
)
def large_logits(draw: np.random.Generator) -> Iterator[Any]:
    """Exact where exp overflows, and where a probability underflows."""
    asked = [sequence(draw, 900.0) for _ in range(4)]
    found = yield asked
    return all(
        np.allclose(each, expected_logprobs(*one), rtol=1e-9) for each, one in zip(found, asked, strict=True)
    )


@check("space", "text_to_score", "One of the two sides puts a space before the choice, and only one.")
def space(draw: np.random.Generator) -> Iterator[Any]:
    """BLOOM's side owns a leading space."""
    words = ["".join(draw.choice(list("abcdefgh"), 5)) for _ in range(3)]
    found = yield [(word, side) for word in words for side in ("bloom", "mt5")]
    return found == [text for word in words for text in (f" {word}", word)]


@check(
    "truncation",
    "read_prompt",
    "Compare with the published limits: how many tokens stay on each side, and which ones.",
)
def truncation(draw: np.random.Generator) -> Iterator[Any]:
    """The beginning is kept, up to the limit of the side; shorter prompts are whole."""
    asked = [
        (draw.integers(0, 9999, size).tolist(), side)
        for side, limit in LIMIT.items()
        for size in (limit - 1, limit, limit + int(draw.integers(1, 700)))
    ]
    found = yield asked
    return all(list(each) == ids[: LIMIT[side]] for each, (ids, side) in zip(found, asked, strict=True))


def tokens(draw: np.random.Generator, size: int, end: float | None) -> tuple[list[float], list[bool]]:
    """Log-probabilities of a choice of some tokens, with an end token if `end` is given."""
    values = (-draw.exponential(2.0, size)).tolist()
    return ([*values, end], [False] * size + [True]) if end is not None else (values, [False] * size)


@check(
    "several-tokens",
    "choice_score",
    "The score of a choice is the log-probability of all its tokens together.",
)
def several_tokens(draw: np.random.Generator) -> Iterator[Any]:
    """Without an end token: the sum."""
    asked = [(*tokens(draw, int(draw.integers(2, 7)), None), side) for side in LIMIT for _ in range(4)]
    found = yield asked
    return bool(np.allclose(found, [sum(values) for values, _, _ in asked], atol=1e-8))


@check("end-token", "choice_score", "The published rules treat the end token differently on the two sides.")
def end_token(draw: np.random.Generator) -> Iterator[Any]:
    """The end token moves the score on mT5's side by its own log-probability, and on BLOOM's by nothing."""
    asked = []
    for side in LIMIT:
        values, flags = tokens(draw, 3, -1.0)
        asked += [(values[:-1], flags[:-1], side), (values, flags, side), ([*values[:-1], -6.0], flags, side)]
    found = yield asked
    bloom, mt5 = np.asarray(found, dtype=float).reshape(2, 3)
    return bool(np.allclose(bloom - bloom[0], 0) and np.allclose(mt5 - mt5[0], [0, -1, -6]))


def with_scores(draw: np.random.Generator, scores: list[float]) -> list[Any]:
    """Choices of several tokens with these scores on either side: the end token is certain."""
    choices = []
    for score in scores:
        parts = draw.dirichlet(np.ones(int(draw.integers(2, 5)))) * score
        choices.append([[*parts.tolist(), 0.0], [False] * len(parts) + [True]])
    return choices


@check(
    "ranking",
    "rank_choices",
    "The prediction is the index of the best score, and the margin its distance in nats to the second best.",
)
def ranking(draw: np.random.Generator) -> Iterator[Any]:
    """Prediction and margin, with two to five choices."""
    wanted = [(-draw.exponential(5.0, int(draw.integers(2, 6)))).tolist() for _ in range(6)]
    found = yield [(with_scores(draw, scores), side) for scores in wanted for side in LIMIT]
    for each, scores in zip(found, [one for one in wanted for _ in LIMIT], strict=True):
        second, best = sorted(scores)[-2:]
        if each["prediction"] != int(np.argmax(scores)) or abs(each["margin"] - (best - second)) > 1e-6:
            return False
    return True


@check(
    "ties",
    "rank_choices",
    "What happens when two scores differ by less than 1e-4 nats? Say so in the result, and let the first of equal scores win.",
)
def ties(draw: np.random.Generator) -> Iterator[Any]:
    """Ties are flagged by the margin, not by equality; the first of equals wins."""
    low = float(-draw.exponential(3.0)) - 1
    sets = [[low - 5, low, low], [low, low - 3e-5, low - 4], [low, low - 3e-3], [low, low - 2, low - 2]]
    choices = [[[[score], [False]] for score in scores] for scores in sets]
    found = yield [(each, "bloom") for each in choices]
    flags = [bool(each["tie"]) for each in found]
    return flags == [True, True, False, False] and [each["prediction"] for each in found] == [1, 0, 0, 0]


@check(
    "published",
    "rank_choices",
    "On real token scores of the miniatures your ranking differs from the published rules: compare both sides with the table in the text.",
)
def published(draw: np.random.Generator) -> Iterator[Any]:
    """Within 1e-4 of `rank` on both miniatures."""
    asked = [RANKED[place] for place in draw.permutation(len(RANKED))]
    found = yield [([[c["logprobs"], c["is_end"]] for c in one["choices"]], one["side"]) for one in asked]
    return all(
        each["prediction"] == one["rank"]["prediction"] and abs(each["margin"] - one["rank"]["margin"]) < NEAR
        for each, one in zip(found, asked, strict=True)
    )


normalisation = Choice(
    "normalisation", "normalisation", ("a", "b", "c"), "b",
    "Compute both scores of the example for a choice that gets one more, nearly certain token, and see which of them moves.",
)  # fmt: skip
