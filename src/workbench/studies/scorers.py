"""The same questions scored in three ways: choices ranked, and the generated answer read strictly or leniently.

How an answer is scored can decide as much as how it is asked for (Polo et al. 2024; `variance_shares` tells how much).
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from workbench.errors import BadInput
from workbench.inference.generation import generate
from workbench.models import Model
from workbench.tasks import Item
from workbench.tasks.spelling import normal

SCORERS = ("ranked", "strict", "lenient")


def by_scorer(
    model: Model,
    items: Sequence[Item],
    ranked: pd.DataFrame,
    *,
    max_new_tokens: int = 10,
    progress: bool = True,
) -> pd.DataFrame:
    """Add to ranked items their generated answers: three rows per item, which differ in the scorer.

    "ranked": the right choice is the likeliest. "strict": the greedy answer is the right choice, but for case, accents and
    punctuation. "lenient": it contains the right choice, in the item's or another language that was asked, and no other choice.

    Wordings with a prompt that leaves no room for an answer in the model's context have only the first row.

    Args:
        items: The items of `ranked`, in its order; other languages of a meaning have the same cluster, template and order of choices.

    Returns:
        The columns of `ranked`, with scorer, text (the generated answer) and correct.

    Raises:
        BadInput: other items than those of `ranked`.
    """
    if ranked["id"].tolist() != [one.id for one in items]:
        raise BadInput(
            f"{len(items)} items came with {len(ranked)} ranked ones; give the same, in the same order"
        )
    texts = _generated(model, ranked, max_new_tokens, progress)
    ways: dict[tuple[str, str, str], tuple[set[str], set[str]]] = {}
    for item in items:
        right, wrong = ways.setdefault((item.task, item.cluster, item.template), (set(), set()))
        for place, choice in enumerate(item.choices):
            (right if place == item.gold else wrong).add(normal(choice))
    strict, lenient = [], []
    for item, text in zip(items, texts.fillna(""), strict=True):
        right, wrong = ways[item.task, item.cluster, item.template]
        said = normal(text)
        strict.append(item.gold is not None and said == normal(item.choices[item.gold]))
        lenient.append(strict[-1] or (_contains(said, right) and not _contains(said, wrong - right)))
    found = {"ranked": ranked["correct"].tolist(), "strict": strict, "lenient": lenient}
    parts = [ranked.assign(scorer=name, text=texts, correct=found[name]) for name in SCORERS]
    there = texts.notna()
    return pd.concat([parts[0], *(part[there] for part in parts[1:])], ignore_index=True)


def _generated(model: Model, ranked: pd.DataFrame, max_new_tokens: int, progress: bool) -> "pd.Series[Any]":
    """Return the greedy answer to every prompt, missing for wordings of which a prompt is too long for an answer."""
    texts: list[str | None] = [None] * len(ranked)
    for places in ranked.groupby(["task", "template"], sort=False).indices.values():
        prompts = ranked["prompt"].iloc[places]
        try:
            found = generate(model, prompts, max_new_tokens=max_new_tokens, progress=progress)
        except BadInput:
            continue
        for place, one in zip(places, found, strict=True):
            texts[place] = one.text
    return pd.Series(texts, index=ranked.index, dtype=object)


def _contains(said: str, phrases: set[str]) -> bool:
    return any(f" {phrase} " in f" {said} " for phrase in phrases if phrase)
