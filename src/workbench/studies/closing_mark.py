"""The stop-mark test: does a prompt without its closing mark make a model go on with the prompt instead of answering it?

An item is put with and without the mark, and each version is measured: what the greedy output is, and how much likelier
the answer is than a continuation. A model that closes the prompt itself and then answers has answered.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from workbench import stats
from workbench.errors import BadInput
from workbench.inference.ranking import score
from workbench.models import Model
from workbench.models.requests import TokenScores
from workbench.tasks import Item
from workbench.words import units

MARKS = ".?!:;…。？！：；।॥؟؛។"  # what closes a sentence in the scripts of the family's languages
_EFFECT = ("effect", "low", "high", "p_value", "p_equivalent")
_PATHS = 4  # at once and after the mark, each without and with a space
_SENTENCE_ENDS = re.compile(
    rf"(?<=[{re.escape(MARKS)}])\s+|(?<=[。？！；])"
)  # these need no space after them


def strip_mark(text: str) -> str:
    """Take away the closing marks and white space at the end."""
    return text.rstrip(MARKS + " \n\t\u3000")


def closing_mark(prompt: str) -> str:
    """Find the mark that closes a prompt, or would: its own, or "." where it has none."""
    return prompt.rstrip()[len(strip_mark(prompt)) :].strip() or "."


def mark_pair(items: Iterable[Item], mark: str | None = None) -> tuple[list[Item], list[Item]]:
    """Make two versions of each item whose prompts differ only in the closing mark: with it, and without.

    Args:
        mark: what closes the prompt; by default each prompt's own, or "." where it has none.

    Raises:
        BadInput: a prompt that is nothing but marks.
    """
    closed, opened = [], []
    for item in items:
        bare = strip_mark(item.prompt)
        if not bare:
            raise BadInput(
                f"the prompt of {item.id!r} is only {item.prompt!r}; nothing is left without its mark"
            )
        own = closing_mark(item.prompt) if mark is None else mark
        closed.append(replace(item, prompt=bare + own))
        opened.append(replace(item, prompt=bare))
    return closed, opened


def marginal_scores(
    model: Model, prompts: Sequence[str], texts: Sequence[str], marks: Sequence[str], *, progress: bool = True
) -> np.ndarray:
    """Give the log-probability in nats that a text comes next, at once or after the prompt's closing mark, shape (N,).

    A decoder-only model closes an open prompt itself and then answers. Scored only as what follows at once, an answer that
    is all but certain looks unlikely; the model's probability of it is the sum over both paths. Each is taken with and
    without a space before the text (tokens that come out the same count once). Nothing is divided by the number of tokens,
    and the end token is not scored.

    Args:
        marks: the mark that would close each prompt, as `closing_mark` finds it.

    Raises:
        BadInput: not as many prompts, texts and marks; otherwise as `score`.
    """
    if not len(prompts) == len(texts) == len(marks):
        raise BadInput(
            f"got {len(prompts)} prompts, {len(texts)} texts and {len(marks)} marks; give as many of each"
        )
    starts = [("", " ", mark, f"{mark} ") for mark in marks]
    paths = [start + text for each, text in zip(starts, texts, strict=True) for start in each]
    asked = [prompt for prompt in prompts for _ in range(_PATHS)]
    scored = score(model, paths, prompts=asked, progress=progress)
    return np.array([_together(scored[place : place + _PATHS]) for place in range(0, len(paths), _PATHS)])


def answer_preference(
    model: Model,
    items: Sequence[Item],
    continuations: Sequence[str],
    marks: Sequence[str],
    *,
    progress: bool = True,
) -> pd.Series:
    """Give log P(answer) - log P(continuation) in nats, both as `marginal_scores`; above 0 the model would rather answer.

    Raises:
        BadInput: an empty target or continuation, or two that are equal; otherwise as `marginal_scores`.
        ValueError: not as many items as continuations.
    """
    for item, continuation in zip(items, continuations, strict=True):
        if not item.target or not continuation or item.target == continuation:
            raise BadInput(
                f"item {item.id!r} has the target {item.target!r} and the continuation {continuation!r}; give two texts"
            )
    prompts = [item.prompt for item in items]
    answers, others = (
        marginal_scores(model, prompts, texts, marks, progress=progress)
        for texts in ([item.target for item in items], continuations)
    )
    return pd.Series(answers - others, name="preference")


def answered(texts: Iterable[str], targets: Iterable[str]) -> list[bool]:
    """Say for each output whether it is the target, but for case, white space and closing marks at either end.

    A model may first close a prompt that was left open (". Ben"): it has answered all the same.
    """
    return [_bare(text) == _bare(target) for text, target in zip(texts, targets, strict=True)]


def opens_with_mark(text: str) -> bool:
    """Say whether an output begins with a mark that closes a sentence, as if the prompt still lacked it."""
    return text.lstrip().startswith(tuple(MARKS))


def continuations(texts: Sequence[str], languages: Sequence[str]) -> list[list[str]]:
    """Find how each text could go on: what follows its last word inside a sentence of another text.

    Only texts with the same entry in `languages` count. The most frequent comes first; the list is empty where the
    last word never stands inside a sentence. Words are split at spaces, and Chinese ones as `words.units` does.
    """
    following: dict[tuple[str, str], Counter[str]] = {}
    for text, language in zip(texts, languages, strict=True):
        for sentence in _SENTENCE_ENDS.split(text):
            parts = units(strip_mark(sentence))
            for place, word in enumerate(parts[:-1], start=1):
                rest = " ".join("".join(parts[place:]).split())
                following.setdefault((language, word.strip()), Counter())[rest] += 1
    found = []
    for text, language in zip(texts, languages, strict=True):
        last = "".join(units(strip_mark(text))[-1:])
        found.append([rest for rest, _ in following.get((language, last), Counter()).most_common()])
    return found


def continued(texts: Iterable[str], targets: Iterable[str], goes_on: Iterable[Sequence[str]]) -> list[bool]:
    """Say for each output whether it adds words to the prompt before anything else.

    It does if it begins with the first word of a continuation, where the target does not. A mark alone adds no words:
    `opens_with_mark` tells those.
    """
    verdicts = []
    for text, target, ways in zip(texts, targets, goes_on, strict=True):
        starts = {_first_word(way) for way in ways} - {_first_word(target), ""}
        verdicts.append(_first_word(text) in starts)
    return verdicts


def mark_effects(outcomes: pd.DataFrame, measures: Sequence[str], *, margin: float = 0.05) -> pd.DataFrame:
    """Compare paired measures with and without the mark, for each model.

    Args:
        outcomes: columns model, cluster, mark (True: the prompt is closed) and the measures; for each model the
            rows with and without the mark in the same order.
        margin: the largest change of a yes/no measure that would not matter.

    Returns:
        One row per model and measure: with_mark, without_mark, effect (with - without), low, high (95 %, over meanings:
        `stats.paired_difference`), p_value (exact McNemar), p_equivalent (small: closer than `margin`). Both are missing
        for measures that are not yes/no, and McNemar's where a meaning is asked more than once, since it takes prompts as
        independent.
    """
    rows = []
    for model, group in outcomes.groupby("model", sort=False):
        closed, opened = group[group["mark"]], group[~group["mark"]]
        if closed["cluster"].tolist() != opened["cluster"].tolist():
            raise BadInput(
                f"the prompts of {model!r} with and without the mark are not the same items in the same order"
            )
        for measure in measures:
            first, second = opened[measure].to_numpy(dtype=float), closed[measure].to_numpy(dtype=float)
            clusters, binary = closed["cluster"].to_numpy(), bool(np.isin([first, second], (0, 1)).all())
            interval = stats.paired_difference(first, second, clusters, reach=1.0 if binary else None)
            alone = binary and closed["cluster"].is_unique
            p_value = stats.mcnemar(first, second).p_value if alone else float("nan")
            p_equivalent = (
                stats.equivalence(first, second, clusters, margin=margin) if binary else float("nan")
            )
            ends = (interval.estimate, interval.low, interval.high)
            rows.append((model, measure, second.mean(), first.mean(), *ends, p_value, p_equivalent))
    return pd.DataFrame(rows, columns=["model", "measure", "with_mark", "without_mark", *_EFFECT])


def _together(paths: Sequence[TokenScores]) -> float:
    """The log of the summed probabilities of distinct token sequences."""
    sums = {path.tokens: np.nansum(np.array(path.logprobs, dtype=float)) for path in paths}
    return float(np.logaddexp.reduce(list(sums.values())))


def _plain(text: str) -> str:
    return strip_mark(re.sub(r"\s+", " ", text.casefold()).strip())


def _bare(text: str) -> str:
    return _plain(text).lstrip(MARKS + " ")


def _first_word(text: str) -> str:
    return "".join(units(_plain(text))[:1]).strip(MARKS + " ,、，\"'«»")
