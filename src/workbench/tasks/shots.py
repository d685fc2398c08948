"""Few-shot items, whose prompts begin with answered exemplars in the same wording."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from workbench.errors import BadInput
from workbench.prompts import Template
from workbench.tasks.items import Asked, Item, ask
from workbench.tasks.values import expect_count


def few_shot_items(
    rows: Sequence[Mapping[str, Any]],
    templates: Sequence[Template],
    shots: int,
    *,
    seed: int = 0,
    language: str | None = None,
) -> list[Item]:
    """Return items whose prompts begin with `shots` answered exemplars, the same for all items of a language and template.

    Exemplars are meanings drawn from the same rows with `seed`; they are excluded from the items in every language. A meaning
    that a template skips is never an exemplar. Each exemplar is its prompt, a space and its answer, followed by a blank line.

    Args:
        language: of the exemplars; by default that of the item.

    Raises:
        BadInput: as `make_items`; too few meanings for the exemplars and at least one item; or an exemplar that is missing in the
            required language.
    """
    return list(ask_with_shots(rows, templates, shots, seed=seed, language=language).items)


def ask_with_shots(
    rows: Sequence[Mapping[str, Any]],
    templates: Sequence[Template],
    shots: int,
    *,
    seed: int = 0,
    language: str | None = None,
) -> Asked:
    """As `few_shot_items`, but also return the number of skipped rows per template."""
    rows, templates = list(rows), list(templates)
    expect_count("shots", shots, least=0)
    made = ask(rows, templates)
    if shots == 0:
        return made
    clusters = sorted({row["cluster"] for row in rows if language is None or row["language"] == language})
    fitting = [cluster for cluster in clusters if cluster not in _skipped(rows, templates, made)]
    if shots >= len(clusters) or shots > len(fitting):
        raise BadInput(
            f"{shots} exemplars were asked for; the data have {len(fitting)} meanings that every wording fits"
            f"{f' in {language!r}' if language else ''}, and one must be left to ask about"
        )
    chosen = random.Random(f"exemplars {seed}").sample(fitting, shots)
    known: dict[tuple[str, str], dict[str, Item]] = {}
    for item in made.items:
        if item.cluster in chosen:
            known.setdefault((item.language, item.template), {}).setdefault(item.cluster, item)
    asked = [item for item in made.items if item.cluster not in chosen]
    items = [
        _after(item, known.get((language or item.language, item.template), {}), chosen) for item in asked
    ]
    return Asked(tuple(items), made.skipped)


def _skipped(rows: Sequence[Mapping[str, Any]], templates: Sequence[Template], made: Asked) -> set[str]:
    """Return the meanings that at least one template skips."""
    if not made.skipped:
        return set()
    there = {(item.cluster, item.language, item.template) for item in made.items}
    return {
        row["cluster"]
        for row in rows
        for template in templates
        if (row["cluster"], row["language"], template.name) not in there
    }


def _after(item: Item, exemplars: Mapping[str, Item], chosen: Sequence[str]) -> Item:
    missing = [cluster for cluster in chosen if cluster not in exemplars]
    if missing:
        raise BadInput(
            f"no exemplar {missing[0]!r} for {item.id!r}; items are not parallel, so name the language of the exemplars, and "
            "ask for one language at a time"
        )
    before = "".join(f"{exemplars[cluster].prompt} {exemplars[cluster].target}\n\n" for cluster in chosen)
    return replace(item, prompt=before + item.prompt)
