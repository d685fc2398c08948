"""How much the wording decides: measures on the tables that `workbench.inference.ranking.rank` gives, and the stop-mark test.

Tables are tidy, one row per answered prompt; a wording is a `template`, a meaning a `cluster`. Every measure that
compares wordings needs the complete matrix (each item under each wording) and says so when it is not.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from workbench import stats
from workbench.errors import BadInput
from workbench.tasks import Item
from workbench.words import units

MARKS = ".?!:;…。？！：；।॥؟؛។"  # what closes a sentence in the scripts of the family's languages
_SENTENCE_ENDS = re.compile(
    rf"(?<=[{re.escape(MARKS)}])\s+|(?<=[。？！；])"
)  # these need no space after them


def accuracies(ranked: pd.DataFrame, by: Sequence[str] = ("template", "language")) -> pd.DataFrame:
    """Give accuracy with a 95 % interval for each group of `by`.

    Wilson's interval where each meaning occurs once, a bootstrap over meanings where it occurs more often.
    Columns: those of `by`, accuracy, low, high (fractions), n (prompts), chance (1 / number of choices, averaged).
    """
    rows = []
    for key, group in ranked.groupby(list(by), sort=False):
        interval = stats.mean_interval(group["correct"], group["cluster"])
        rows.append((*key, interval.estimate, interval.low, interval.high, len(group), chance(group)))
    return pd.DataFrame(rows, columns=[*by, "accuracy", "low", "high", "n", "chance"])


def chance(ranked: pd.DataFrame) -> float:
    """Give the accuracy of guessing: 1 / number of choices, averaged."""
    return float((1 / ranked["choices"].map(len)).mean())


def outcome_matrix(ranked: pd.DataFrame, value: str = "correct") -> pd.DataFrame:
    """Arrange one task in one language as items x templates, indexed by cluster and number within it.

    Raises:
        BadInput: several languages or tasks, a template asked on other items than the rest, or only one template.
    """
    for column in ("task", "language"):
        if ranked[column].nunique() != 1:
            raise BadInput(
                f"outcome_matrix got {ranked[column].nunique()} values of {column}; select one first"
            )
    number = ranked.groupby(["template", "cluster"], sort=False).cumcount()
    matrix = ranked.assign(number=number).pivot(index=["cluster", "number"], columns="template", values=value)
    if matrix.isna().to_numpy().any() or matrix.shape[1] < 2:
        raise BadInput(
            f"{matrix.shape[1]} templates on {len(matrix)} items leave gaps; ask every template on every item"
        )
    return matrix


def spreads(ranked: pd.DataFrame, *, permutations: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Test, for each task and language, whether accuracy differs over templates by more than chance makes.

    The null shuffles templates within each meaning, so it keeps how hard each is. Columns: task, language,
    templates, n (items), worst, best, spread, null_mean, null_high (95 % point), excess, p_value, and p_cochran of
    Cochran's Q as a second opinion that looks at all templates, not only the extremes.
    """
    rows = []
    for (task, language), group in ranked.groupby(["task", "language"], sort=False):
        matrix = outcome_matrix(group).astype(float)
        test = stats.permutation_spread(_by_cluster(matrix), permutations=permutations, seed=seed)
        means = matrix.mean()
        rows.append(
            {
                "task": task,
                "language": language,
                "templates": matrix.shape[1],
                "n": len(matrix),
                "worst": float(means.min()),
                "best": float(means.max()),
                "spread": test.spread,
                "null_mean": test.null_mean,
                "null_high": test.null_high,
                "excess": test.excess,
                "p_value": test.p_value,
                "p_cochran": stats.cochran_q(matrix.to_numpy()).p_value,
            }
        )
    return pd.DataFrame(rows)


def agreement(ranked: pd.DataFrame) -> pd.DataFrame:
    """Say, for each task and language, how often wordings change the answer to the same item.

    Choices are compared by index, so templates must list them in the same order. Columns: task, language, n,
    flip_rate (share of items not given one and the same choice by all templates), pss (mean over items and pairs of
    templates of the difference in being right; 0: always the same, 0.5 is a coin), always_right, always_wrong.

    Source: PSS after Zhuo et al. 2024 (arXiv:2410.12405).
    """
    rows = []
    for (task, language), group in ranked.groupby(["task", "language"], sort=False):
        chosen = outcome_matrix(group, "prediction")
        right = outcome_matrix(group).astype(float).sum(axis=1)
        k = chosen.shape[1]
        rows.append(
            {
                "task": task,
                "language": language,
                "n": len(chosen),
                "flip_rate": float((chosen.nunique(axis=1) > 1).mean()),
                "pss": float((right * (k - right)).mean() / (k * (k - 1) / 2)),
                "always_right": float((right == k).mean()),
                "always_wrong": float((right == 0).mean()),
            }
        )
    return pd.DataFrame(rows)


def strip_mark(text: str) -> str:
    """Take away the closing marks and white space at the end."""
    return text.rstrip(MARKS + " \n\t\u3000")


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
        own = item.prompt.rstrip()[len(bare) :].strip() or "."
        closed.append(replace(item, prompt=bare + (own if mark is None else mark)))
        opened.append(replace(item, prompt=bare))
    return closed, opened


def against_continuation(items: Iterable[Item], continuations: Iterable[str]) -> list[Item]:
    """Turn items into a choice between answering (0, gold) and continuing the prompt (1), for `rank`.

    Raises:
        BadInput: an empty target or continuation, or two that are equal.
        ValueError: not as many items as continuations.
    """
    made = []
    for item, continuation in zip(items, continuations, strict=True):
        if not item.target or not continuation or item.target == continuation:
            raise BadInput(
                f"item {item.id!r} has the target {item.target!r} and the continuation {continuation!r}; give two texts"
            )
        made.append(replace(item, choices=(item.target, continuation), gold=0))
    return made


def answer_preference(ranked: pd.DataFrame) -> pd.Series:
    """Give log P(answer) - log P(continuation), each per token, in nats; above 0 the model would rather answer.

    Takes what `rank` made of `against_continuation`. On the mT5 side the end token is scored with both.
    """
    counts = set(ranked["scores"].map(len))
    if counts != {2}:
        raise BadInput(f"answer_preference needs two choices per item, got {sorted(counts)}")
    scores, tokens = (np.array(ranked[column].tolist(), dtype=float) for column in ("scores", "tokens"))
    per_token = scores / tokens
    return pd.Series(per_token[:, 0] - per_token[:, 1], index=ranked.index, name="preference")


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


def mark_effects(outcomes: pd.DataFrame, measures: Sequence[str]) -> pd.DataFrame:
    """Compare paired measures with and without the mark, for each model.

    Args:
        outcomes: columns model, cluster, mark (True: the prompt is closed) and the measures; for each model the
            rows with and without the mark in the same order.

    Returns:
        One row per model and measure: with_mark, without_mark, effect (with - without), low, high (95 %, bootstrap
        over meanings), p_value (exact McNemar; missing for measures that are not yes/no, and where a meaning is asked more
        than once, since McNemar takes prompts as independent).
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
            interval = stats.paired_difference(first, second, closed["cluster"].to_numpy())
            testable = closed["cluster"].is_unique and bool(np.isin([first, second], (0, 1)).all())
            p_value = stats.mcnemar(first, second).p_value if testable else float("nan")
            ends = (interval.estimate, interval.low, interval.high)
            rows.append((model, measure, second.mean(), first.mean(), *ends, p_value))
    columns = ["model", "measure", "with_mark", "without_mark", "effect", "low", "high", "p_value"]
    return pd.DataFrame(rows, columns=columns)


def _by_cluster(matrix: pd.DataFrame) -> np.ndarray:
    """One row per meaning, scaled so that column means stay the accuracies when meanings have several items."""
    totals = matrix.groupby(level="cluster", sort=False).sum()
    return np.asarray(totals.to_numpy() * len(totals) / len(matrix))


def _plain(text: str) -> str:
    return strip_mark(re.sub(r"\s+", " ", text.casefold()).strip())


def _bare(text: str) -> str:
    return _plain(text).lstrip(MARKS + " ")


def _first_word(text: str) -> str:
    return "".join(units(_plain(text))[:1]).strip(MARKS + " ,、，\"'«»")
