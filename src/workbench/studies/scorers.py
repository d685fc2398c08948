"""The same questions scored in three ways: choices ranked, and the generated answer read strictly or leniently.

How an answer is scored can decide as much as how it is asked for (Polo et al. 2024; `variance_shares` tells how much).
"""

from collections.abc import Sequence

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

    Wordings with a prompt that was cut to the model's context are left out, since no answer can be generated to them.

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
    cut = set(ranked.loc[ranked["truncated"].astype(bool), "template"]) if "truncated" in ranked else set()
    if cut:
        kept = ~ranked["template"].isin(cut)
        items = [item for item, keep in zip(items, kept, strict=True) if keep]
        ranked = ranked[kept]
    texts = [
        one.text
        for one in generate(model, ranked["prompt"], max_new_tokens=max_new_tokens, progress=progress)
    ]
    ways: dict[tuple[str, str, str], tuple[set[str], set[str]]] = {}
    for item in items:
        right, wrong = ways.setdefault((item.task, item.cluster, item.template), (set(), set()))
        for place, choice in enumerate(item.choices):
            (right if place == item.gold else wrong).add(normal(choice))
    strict, lenient = [], []
    for item, text in zip(items, texts, strict=True):
        right, wrong = ways[item.task, item.cluster, item.template]
        said = normal(text)
        strict.append(item.gold is not None and said == normal(item.choices[item.gold]))
        lenient.append(strict[-1] or (_contains(said, right) and not _contains(said, wrong - right)))
    found = {"ranked": ranked["correct"].tolist(), "strict": strict, "lenient": lenient}
    parts = [ranked.assign(scorer=name, text=texts, correct=found[name]) for name in SCORERS]
    return pd.concat(parts, ignore_index=True)


def _contains(said: str, phrases: set[str]) -> bool:
    return any(f" {phrase} " in f" {said} " for phrase in phrases if phrase)
