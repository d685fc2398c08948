"""Where a model's first token goes: to a mark that closes the prompt, to the answer, to more of the prompt, or to the end.

Greedy outputs show the likeliest way only; the shares show how near the others are. A token that is only a space is followed by
the next one, since it begins every word.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from workbench.errors import BadInput
from workbench.inference.scoring import score, token_scores
from workbench.models import Model
from workbench.models.requests import ComputeOptions, ScoringRule, TokenScores, ToScore

CLOSING = (".", "?", "!", ":")  # looked for after every prompt, beside its own mark
KINDS = ("mark", "answer", "continuation")
_SPACES = "\u2581\u0120 "  # how tokenizers write a space: sentencepiece, byte-level BPE
_END = ScoringRule(special_tokens=True, score_end=True)

Way = tuple[str, ...]


def first_token_shares(
    model: Model,
    prompts: Sequence[str],
    answers: Sequence[str],
    continuations: Sequence[Sequence[str]],
    marks: Sequence[str],
    *,
    progress: bool = True,
) -> pd.DataFrame:
    """Return for each prompt the probability that the output begins with a mark, its answer, a continuation, the end, or something else.

    Texts count by their first token, with and without a space before it. A token that begins both the answer and a continuation
    tells nothing and is among the others.

    Args:
        continuations: For each prompt the texts that may continue it; none where none are known.
        marks: The mark that would close each prompt; full stop, question mark, exclamation mark and colon are marks after all.

    Returns:
        One row per prompt: mark, answer, continuation, end, other; they add up to 1.

    Raises:
        BadInput: numbers of prompts, answers, continuations and marks that differ; otherwise as `score`.
    """
    if not len(prompts) == len(answers) == len(continuations) == len(marks):
        raise BadInput(
            f"got {len(prompts)} prompts, {len(answers)} answers, {len(continuations)} lists of continuations and {len(marks)} "
            "marks; give as many of each"
        )
    asked = [
        (number, kind, start + text)
        for number, texts in enumerate(zip(marks, answers, continuations, strict=True))
        for kind, each in zip(KINDS, ((texts[0], *CLOSING), (texts[1],), texts[2]), strict=True)
        for text in dict.fromkeys(each)
        for start in ("", " ")
    ]
    scored = score(
        model,
        [text for *_, text in asked],
        prompts=[prompts[number] for number, *_ in asked],
        progress=progress,
    )
    ways: list[dict[Way, tuple[set[str], float]]] = [{} for _ in prompts]
    for (number, kind, _), found in zip(asked, scored, strict=True):
        way, chance = _beginning(found)
        ways[number].setdefault(way, (set(), chance))[0].add(kind)
    table = pd.DataFrame([_shares(each.values()) for each in ways], columns=list(KINDS))
    requests = [ToScore(prompt, "") for prompt in prompts]
    ends = token_scores(model, requests, _END, ComputeOptions(), progress).values
    table["end"] = [float(np.exp(each.logprobs[0] or 0.0)) for each in ends]
    return table.assign(other=(1 - table.sum(axis=1)).clip(lower=0.0))


def _beginning(found: TokenScores) -> tuple[Way, float]:
    """Return the tokens up to the first that is more than a space, and their probability."""
    visible = [place for place, token in enumerate(found.tokens) if token.strip(_SPACES)]
    upto = visible[0] + 1 if visible else len(found.tokens)
    return found.tokens[:upto], float(np.exp(np.nansum(np.array(found.logprobs[:upto], dtype=float))))


def _shares(ways: Iterable[tuple[set[str], float]]) -> list[float]:
    only = [(kinds, chance) for kinds, chance in ways if "mark" in kinds or len(kinds) == 1]
    return [
        min(
            1.0,
            sum(
                chance for kinds, chance in only if kind in kinds and (kind == "mark" or "mark" not in kinds)
            ),
        )
        for kind in KINDS
    ]
