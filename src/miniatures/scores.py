"""Accuracy of a member on its tasks, by the workbench's own `rank` and `generate`, for its card and the checks."""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from miniatures.questions import HELD_OUT, RANKED
from miniatures.world import PIVOT
from workbench.inference.generation import generate
from workbench.inference.ranking import rank
from workbench.models import Model, load
from workbench.prompts import Template
from workbench.store import Store
from workbench.tasks import Item, make_items, read_rows, task_templates


@contextmanager
def temporary_model(folder: Path, random_seed: int | None = None) -> Iterator[Model]:
    """Yield a handle for a member with an empty store, which is deleted afterwards."""
    with tempfile.TemporaryDirectory() as aside:
        yield load(str(folder), random_seed=random_seed, store=Store(Path(aside) / "store.sqlite"))


def answered(folder: Path, items: Sequence[Item], progress: bool = False) -> pd.DataFrame:
    """Rank items: one row each with correct, and margin (nats by which the right choice is likelier than the best other)."""
    with temporary_model(folder) as model:
        table = rank(model, items, progress=progress)
    margins = [
        scores[gold] - max(scores[:gold] + scores[gold + 1 :])
        for scores, gold in zip(table["scores"], table["gold"], strict=True)
    ]
    return pd.DataFrame({"correct": table["correct"].astype(bool), "margin": margins})


def ranked(folder: Path, meanings: int | None = None, tasks: Iterable[str] = RANKED) -> pd.DataFrame:
    """Rank the evaluation items of ranked tasks: one row per item with task, language, wordings, correct.

    `wordings` is "seen" (English wordings of families in the mixtures), "held_out" (English wordings of held-out families) or
    "native" (wordings in the row's own language, if there are any). The wordings of a kind alternate over the meanings.
    """
    asked = [found for task in tasks for found in evaluation_items(task, meanings)]
    heads = [(item.task, item.language, kind) for kind, item in asked]
    table = pd.DataFrame(heads, columns=["task", "language", "wordings"])
    return table.assign(correct=answered(folder, [item for _, item in asked])["correct"])


def evaluation_items(task: str, meanings: int | None = None) -> list[tuple[str, Item]]:
    """Return the items of one task with the kind of their wording: "seen", "held_out" or "native"."""
    templates = task_templates(task)
    items = []
    for row in read_rows(task, limit=meanings):
        for kind, found in _kinds_of_wording(templates, row["language"]).items():
            wording = found[int(row["cluster"].rsplit("-", 1)[1]) % len(found)]
            items.append((kind, make_items([row], [wording])[0]))
    return items


def _kinds_of_wording(templates: Sequence[Template], language: str) -> dict[str, list[Template]]:
    kinds = {
        "seen": [one for one in templates if one.language == PIVOT and not one.held_out],
        "held_out": [one for one in templates if one.language == PIVOT and one.held_out],
        "native": [one for one in templates if one.language == language != PIVOT],
    }
    return {kind: found for kind, found in kinds.items() if found}


def translated(folder: Path, meanings: int | None = None, wording: str = "to") -> pd.DataFrame:
    """Translate greedily: one row per text with language, direction ("to" the pivot or "from" it), exact (bool)."""
    rows = read_rows("translation", limit=meanings)
    items = make_items(rows, [one for one in task_templates("translation") if one.name == wording])
    with temporary_model(folder) as model:
        prompts = [item.prompt for item in items]
        answers = generate(model, prompts, max_new_tokens=24, batch_size=128, progress=False)
    return pd.DataFrame(
        {
            "language": item.language,
            "direction": row["id"].rsplit("-", 1)[1],
            "exact": answer.text.strip() == item.target,
        }
        for row, item, answer in zip(rows, items, answers, strict=True)
    )


def summary(folder: Path, meanings: int | None = None) -> dict[str, Any]:
    """Return the scores of a card: accuracy per task × language for each kind of wording, and the share of exact translations."""
    table = ranked(folder, meanings, (*RANKED, *HELD_OUT))
    parts = {f"{kind}_wordings": table[table["wordings"] == kind] for kind in ("seen", "held_out", "native")}
    wide = {name: _wide(part, "task", "correct") for name, part in parts.items()}
    return {**wide, "translation_exact": _wide(translated(folder, meanings), "direction", "exact")}


def _wide(table: pd.DataFrame, rows: str, values: str) -> dict[str, dict[str, float]]:
    pivot = table.pivot_table(index=rows, columns="language", values=values, sort=False)
    found: dict[Any, dict[Any, float]] = pivot.round(3).to_dict("index")
    return found
