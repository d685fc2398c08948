"""The border of a prompt: does a model answer a prompt whose end is not marked, or go on with it?

The cards of BLOOMZ make four claims: close the prompt with a mark, give a cue, put the text in quotes or ask a question, and name the
language of the answer. Each is a version of the same prompts (`border_versions`), beside one that only adds a word. A model that
first closes the prompt itself and then answers counts as having answered.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace

import numpy as np
import pandas as pd

from workbench.errors import BadInput
from workbench.inference.generation import generate
from workbench.inference.scoring import score
from workbench.models import Model
from workbench.models.requests import TokenScores
from workbench.studies.answer_language import answer_languages
from workbench.studies.answer_language.identifying import Identifier
from workbench.studies.first_token import first_token_shares
from workbench.tasks import Item
from workbench.words import units

MARKS = ".?!:;…。？！：；।॥؟؛។"  # marks that end a sentence in the scripts of the family's languages
VERSIONS = ("open", "word", "mark", "cue", "quotes", "question", "unnamed")
_ASKING = ("question", "unnamed")  # these need the language asked for
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


def border_versions(
    items: Sequence[Item],
    texts: Sequence[str],
    languages: Sequence[str] = (),
    *,
    word: str = "now",
    cue: str = "Translation:",
) -> dict[str, list[Item]]:
    """Return versions of items whose prompts end with a text, which differ only in how the text's end is marked.

    "open" has no mark; "word" adds a word instead, the placebo; "mark" adds the text's own mark, or "."; "cue" a word that asks for
    the answer, without a mark; "quotes" puts the text in quotes; "question" asks what it is in a language; "unnamed" asks, with the
    mark, for a translation into no language in particular.

    Args:
        texts: The text at the end of each prompt.
        languages: Names of the languages asked for, for the last two versions; without them these are left out.

    Raises:
        BadInput: a prompt that does not end with its text, or a text that is only marks.
    """
    found: dict[str, list[Item]] = {name: [] for name in VERSIONS if languages or name not in _ASKING}
    for number, (item, text) in enumerate(zip(items, texts, strict=True)):
        bare, prompt = strip_mark(text), strip_mark(item.prompt)
        if not bare or not prompt.endswith(bare):
            raise BadInput(
                f"the prompt of {item.id!r} is {item.prompt!r}; its end is to be the text {text!r}, which has words"
            )
        prompts = {
            "open": prompt,
            "word": f"{prompt} {word}",
            "mark": prompt + closing_mark(text),
            "cue": f"{prompt} {cue}",
            "quotes": f'{prompt.removesuffix(bare)}"{bare}"',
        }
        if languages:
            prompts["question"] = f'What is "{text.strip()}" in {languages[number]}?'
            prompts["unnamed"] = f"Translate: {bare}{closing_mark(text)}"
        for name, asked in prompts.items():
            found[name].append(replace(item, prompt=asked))
    return found


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
    if not items:
        return pd.Series([], name="preference", dtype=float)
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
    model: Model,
    versions: Mapping[str, Sequence[Item]],
    continuations: Sequence[Sequence[str]],
    marks: Sequence[str],
    *,
    progress: bool = True,
) -> pd.DataFrame:
    """Put every version of the same items to a model, and measure its greedy outputs, its first tokens and its preferences.

    Args:
        versions: Items by version, as `border_versions` returns them, in one order.
        continuations: The continuations of each item's text, the likeliest first; none where none are known.
        marks: The mark that would close each item's text.

    Returns:
        One row per prompt: version, model, id, language, cluster, prompt, target, text (the output), the shares of
        `first_token_shares`, answers, adds mark, ends (nothing is said), nats and prefers answer (`answer_preference`; missing
        without a continuation).
    """
    parts = []
    for name, items in versions.items():
        prompts, targets = [one.prompt for one in items], [one.target for one in items]
        texts = [one.text for one in generate(model, prompts, max_new_tokens=24, progress=progress)]
        table = pd.DataFrame(map(asdict, items))[["id", "language", "cluster", "prompt", "target"]]
        shares = first_token_shares(model, prompts, targets, continuations, marks, progress=progress)
        table = pd.concat([table.assign(version=name, model=model.name, text=texts), shares], axis=1)
        known = [place for place, ways in enumerate(continuations) if ways]
        nats = answer_preference(
            model,
            [items[place] for place in known],
            [continuations[place][0] for place in known],
            [marks[place] for place in known],
            progress=progress,
        )
        table["nats"] = pd.Series(nats.to_numpy(), index=known, dtype=float)
        parts.append(table)
    found = pd.concat(parts, ignore_index=True)
    found["answers"] = answered(found["text"], found["target"])
    found["adds mark"] = [opens_with_mark(text) for text in found["text"]]
    found["ends"] = [not strip_mark(text) for text in found["text"]]
    found["prefers answer"] = (found["nats"] > 0).astype(float).where(found["nats"].notna())
    return found


def told_language(
    outcomes: pd.DataFrame, known: Mapping[str, Iterable[str]], identifier: Identifier | None = None
) -> pd.DataFrame:
    """Add in which language an output is: `in target` (the answer's), or `in source` (that of the prompt's text: continued or copied).

    A right answer is in the target language also where both spell it alike. What cannot be told is neither.

    Args:
        outcomes: Columns text, answers, wanted and given (the languages of the answer and of the prompt's text).
        known, identifier: As for `answer_languages`.
    """
    produced = np.full(len(outcomes), "", dtype=object)
    for places in outcomes.groupby(["wanted", "given"], sort=False).indices.values():
        group = outcomes.iloc[places]
        pair = [str(group[name].iloc[0]) for name in ("wanted", "given")]
        found = answer_languages(group["text"], pair, known=known, identifier=identifier)
        produced[places] = [one.language for one in found]
    target = outcomes["answers"] | (produced == outcomes["wanted"])
    return outcomes.assign(**{"in target": target, "in source": ~target & (produced == outcomes["given"])})


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


def _log_sum(paths: Sequence[TokenScores]) -> float:
    """Return the log of the summed probabilities of distinct token sequences."""
    sums = {path.tokens: np.nansum(np.array(path.logprobs, dtype=float)) for path in paths}
    return float(np.logaddexp.reduce(list(sums.values())))


def _plain(text: str) -> str:
    return strip_mark(re.sub(r"\s+", " ", text.casefold()).strip())


def _bare(text: str) -> str:
    return _plain(text).lstrip(MARKS + " ")
