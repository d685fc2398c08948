"""Few-shot items: exemplars with their answers stand before the question, in the same wording."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from workbench.errors import BadInput
from workbench.prompts import Template
from workbench.tasks.items import Item, make_items


def few_shot_items(
    rows: Sequence[Mapping[str, Any]],
    templates: Sequence[Template],
    shots: int,
    *,
    seed: int = 0,
    language: str | None = None,
) -> list[Item]:
    """Make items whose prompts begin with `shots` answered exemplars, the same for every item of a language.

    Exemplars are meanings of the same data, drawn by `seed` and asked about no more, in any language. Each is the prompt,
    a space, the answer; blank lines part them.

    Args:
        language: of the exemplars; by default that of the item.

    Raises:
        BadInput: fewer meanings than exemplars and one item, or no rows in the exemplars' language.
    """
    if shots == 0:
        return make_items(rows, templates)
    clusters = sorted({row["cluster"] for row in rows if language is None or row["language"] == language})
    if not 0 < shots < len(clusters):
        raise BadInput(
            f"{shots} exemplars were asked for; the data have {len(clusters)} meanings"
            f"{f' in {language!r}' if language else ''}, and one must be left to ask about"
        )
    chosen = random.Random(f"exemplars {seed}").sample(clusters, shots)
    known: dict[tuple[str, str], dict[str, Item]] = {}
    for item in make_items([row for row in rows if row["cluster"] in chosen], templates):
        known.setdefault((item.language, item.template), {}).setdefault(item.cluster, item)
    asked = make_items([row for row in rows if row["cluster"] not in chosen], templates)
    return [_after(item, known.get((language or item.language, item.template), {}), chosen) for item in asked]


def _after(item: Item, exemplars: Mapping[str, Item], chosen: Sequence[str]) -> Item:
    missing = [cluster for cluster in chosen if cluster not in exemplars]
    if missing:
        raise BadInput(
            f"no exemplar {missing[0]!r} for {item.id!r}; items are not parallel, so name the language of the exemplars, and "
            "ask for one language at a time"
        )
    before = "".join(f"{exemplars[cluster].prompt} {exemplars[cluster].target}\n\n" for cluster in chosen)
    return replace(item, prompt=before + item.prompt)
