"""The stop-mark test: does a prompt without its closing mark make a model continue the prompt instead of answering it?

Each item is asked with and without the mark, and two things are measured: the greedy output, and how much likelier the
answer is than a continuation. A model that first closes the prompt itself and then answers counts as having answered.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace

import numpy as np
import pandas as pd

from workbench import stats
from workbench.errors import BadInput
from workbench.inference.generation import generate
from workbench.inference.scoring import score
from workbench.models import Model
from workbench.models.requests import TokenScores
from workbench.tasks import Item
from workbench.words import units

MARKS = ".?!:;…。？！：；।॥؟؛។"  # marks that end a sentence in the scripts of the family's languages
_EFFECT = ("effect", "low", "high", "p_value", "p_equivalent")
_PATHS = 4  # directly and after the mark, each without and with a space
_SENTENCE_ENDS = re.compile(
    rf"(?<=[{re.escape(MARKS)}])\s+|(?<=[。？！；])"
)  # these are not followed by a space


def strip_mark(text: str) -> str:
    """Remove closing marks and white space from the end of a text."""
    return text.rstrip(MARKS + " \n\t\u3000")


def closing_mark(prompt: str) -> str:
    """Return the mark that closes a prompt, or "." if the prompt has none."""
    return prompt.rstrip()[len(strip_mark(prompt)) :].strip() or "."


def mark_pair(items: Iterable[Item], mark: str | None = None) -> tuple[list[Item], list[Item]]:
    """Return two versions of each item, whose prompts differ only in the closing mark: with it, and without.

    Args:
        mark: The closing mark; by default each prompt's own, or "." where it has none.

    Raises:
        BadInput: a prompt consists of marks only.
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
    """Return the log-probability in nats that a text comes next, directly or after the prompt's closing mark, shape (N,).

    A decoder-only model closes an open prompt itself and then answers. Scored as an immediate continuation only, an answer that
    is almost certain looks unlikely; its probability under the model is the sum over both paths. Each path is taken with and
    without a space before the text (identical token sequences count once). Scores are not normalised by length, and the end
    token is not scored.

    Args:
        marks: The mark that would close each prompt, from `closing_mark`.

    Raises:
        BadInput: numbers of prompts, texts and marks that differ; otherwise as `score`.
    """
    if not len(prompts) == len(texts) == len(marks):
        raise BadInput(
            f"got {len(prompts)} prompts, {len(texts)} texts and {len(marks)} marks; give as many of each"
        )
    starts = [("", " ", mark, f"{mark} ") for mark in marks]
    paths = [start + text for each, text in zip(starts, texts, strict=True) for start in each]
    asked = [prompt for prompt in prompts for _ in range(_PATHS)]
    scored = score(model, paths, prompts=asked, progress=progress)
    return np.array([_log_sum(scored[place : place + _PATHS]) for place in range(0, len(paths), _PATHS)])


def answer_preference(
    model: Model,
    items: Sequence[Item],
    continuations: Sequence[str],
    marks: Sequence[str],
    *,
    progress: bool = True,
) -> pd.Series:
    """Return log P(answer) - log P(continuation) in nats, each from `marginal_scores`; positive where the answer is likelier.

    Raises:
        BadInput: an empty target or continuation, or a pair of equal ones; otherwise as `marginal_scores`.
        ValueError: numbers of items and continuations that differ.
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


def outcomes(
    model: Model, closed: Sequence[Item], opened: Sequence[Item], continuations: Sequence[Sequence[str]]
) -> pd.DataFrame:
    """Put both versions of each item to a model, and measure its greedy outputs and its preferences.

    Args:
        closed, opened: As `mark_pair` returns them.
        continuations: The continuations of each item's text, the likeliest first.

    Returns:
        One row per prompt: id, language, cluster, prompt, target, model, mark (closed), text (the output), ways
        (`continuations`), nats (`answer_preference`), and yes or no: answers, adds mark, adds words, prefers answer.
    """
    likely, own = [each[0] for each in continuations], [closing_mark(item.prompt) for item in closed]
    parts = []
    for mark, version in ((True, closed), (False, opened)):
        texts = [one.text for one in generate(model, [item.prompt for item in version], max_new_tokens=24)]
        table = pd.DataFrame(map(asdict, version))[["id", "language", "cluster", "prompt", "target"]]
        nats = answer_preference(model, version, likely, own)
        ways = pd.Series([list(each) for each in continuations], dtype=object)
        parts.append(table.assign(model=model.name, mark=mark, text=texts, ways=ways, nats=nats))
    found = pd.concat(parts, ignore_index=True)
    found["answers"] = answered(found["text"], found["target"])
    found["adds mark"] = [opens_with_mark(text) for text in found["text"]]
    found["adds words"] = continued(found["text"], found["target"], found["ways"])
    found["prefers answer"] = found["nats"] > 0
    return found


def answered(texts: Iterable[str], targets: Iterable[str]) -> list[bool]:
    """Return for each output whether it equals the target, ignoring case, white space and closing marks at either end.

    A model may first close a prompt that was left open (". Ben"); this counts as an answer.
    """
    return [_bare(text) == _bare(target) for text, target in zip(texts, targets, strict=True)]


def opens_with_mark(text: str) -> bool:
    """Return whether an output begins with a mark that closes a sentence, as if the prompt still lacked it."""
    return text.lstrip().startswith(tuple(MARKS))


def continuations(texts: Sequence[str], languages: Sequence[str]) -> list[list[str]]:
    """Return the possible continuations of each text: what follows its last word inside a sentence of another text.

    Only texts with the same entry in `languages` are considered. The most frequent continuation comes first; the list is empty
    if the last word never occurs inside a sentence. Words are split at spaces, and in Chinese as `words.units` splits them.
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


def continued(
    texts: Iterable[str], targets: Iterable[str], continuations: Iterable[Sequence[str]]
) -> list[bool]:
    """Return for each output whether it begins by adding words to the prompt.

    It does if its first word is that of a continuation and not that of the target. A mark alone adds no words; use
    `opens_with_mark` to detect it.
    """
    verdicts = []
    for text, target, ways in zip(texts, targets, continuations, strict=True):
        starts = {_first_word(way) for way in ways} - {_first_word(target), ""}
        verdicts.append(_first_word(text) in starts)
    return verdicts


def mark_effects(outcomes: pd.DataFrame, measures: Sequence[str], *, margin: float = 0.05) -> pd.DataFrame:
    """Compare paired measures with and without the mark, for each model.

    Args:
        outcomes: Columns model, cluster, mark (True: the prompt is closed) and the measures; for each model the
            rows with and without the mark in the same order.
        margin: The largest change of a yes/no measure that counts as negligible.

    Returns:
        One row per model and measure: with_mark, without_mark, effect (with - without), low, high (95 %, over meanings:
        `stats.paired_difference`), p_value (exact McNemar), p_equivalent (small: closer than `margin`). Both are missing
        for measures that are not yes/no; p_value is also missing if a meaning occurs more than once, since McNemar's test
        assumes independent prompts.

    Raises:
        BadInput: a model's rows with and without the mark are not in the same order of clusters.
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


def _log_sum(paths: Sequence[TokenScores]) -> float:
    """Return the log of the summed probabilities of distinct token sequences."""
    sums = {path.tokens: np.nansum(np.array(path.logprobs, dtype=float)) for path in paths}
    return float(np.logaddexp.reduce(list(sums.values())))


def _plain(text: str) -> str:
    return strip_mark(re.sub(r"\s+", " ", text.casefold()).strip())


def _bare(text: str) -> str:
    return _plain(text).lstrip(MARKS + " ")


def _first_word(text: str) -> str:
    return "".join(units(_plain(text))[:1]).strip(MARKS + " ,、，\"'«»")
