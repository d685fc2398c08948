"""The answers of every member to every evaluation item, in one table from which checks and findings are computed.

The baselines are asked the same items and are rows of the table like members, with the side "baseline".
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from miniatures.baselines import copy_choice, ngram_choices
from miniatures.check.sides import SIDES
from miniatures.examples import FINETUNED
from miniatures.questions import HELD_OUT, RANKED
from miniatures.scores import answered, evaluation_items
from miniatures.world import PIVOT
from workbench.errors import BadInput
from workbench.paths import data_path
from workbench.tasks import Item

MEANINGS = 24  # of each task, by default
BALANCED = (12, 24, 36, 48)  # labels and positions repeat after 12 meanings; the files hold 48
TASKS = (*RANKED, *HELD_OUT)
BASELINES = ("copy", "n-grams", "n-grams-en")  # the last is fitted on English data alone, as P3 has
NO_MARK = "no_mark"  # the kind of a seen wording without its last mark
MARKS = ".?:。？："
KEYS = ("task", "language", "wordings", "cluster", "template")  # these name an item
COLUMNS = ("member", "side", *KEYS, "chance", "correct", "margin")


@dataclass(frozen=True)
class Question:
    """An evaluation item and the kind of its wording: "seen", "held_out", "native" or "no_mark"."""

    kind: str
    item: Item


def questions(meanings: int | None = None, tasks: Sequence[str] = TASKS) -> list[Question]:
    """Return all evaluation items of the ranked and the held-out tasks, or of some of them.

    In addition to those of `scores.evaluation_items`, the seen wordings of the ranked tasks appear without their last mark,
    in the finetuned languages.
    """
    asked = []
    for task in tasks:
        for kind, item in evaluation_items(task, meanings or MEANINGS):
            asked.append(Question(kind, item))
            marked = item.prompt.endswith(tuple(MARKS))
            if kind == "seen" and marked and task in RANKED and item.language in FINETUNED:
                bare = replace(item, prompt=item.prompt.rstrip(MARKS + " "))
                asked.append(Question(NO_MARK, bare))
    return asked


def predictions(
    folder: Path | None = None,
    meanings: int | None = None,
    *,
    members: Sequence[str] | None = None,
    tasks: Sequence[str] = TASKS,
    seed: int = 0,
) -> pd.DataFrame:
    """Ask members and baselines all questions, each once, with a progress bar.

    Args:
        folder: The folder of the members; those that ship by default.
        meanings: Meanings of each task, a multiple of 12 up to 48; `MEANINGS` by default.
        members: Names; the whole family by default. The baselines are always included.
        tasks: Names; the checks need all of them.
        seed: Of the examples on which the n-gram baseline is fitted.

    Returns:
        One row per member and item: member, side ("bloom", "mt5" or "baseline"), task, language, wordings ("seen",
        "held_out", "native", "no_mark"), cluster (the meaning), template, chance (1 / choices), correct (bool),
        margin (nats by which the right choice is likelier than the best other; 0 for baselines).

    Raises:
        BadInput: another number of meanings, or members that are not in the folder; the message names all of them.
    """
    if meanings is not None and meanings not in BALANCED:
        raise BadInput(
            f"{meanings} meanings of each task are not balanced; give one of {', '.join(map(str, BALANCED))}"
        )
    folder = folder or data_path("mini/models")
    family = {name: side.name for side in SIDES for name in side.members()}
    sides = {name: side for name, side in family.items() if members is None or name in members}
    missing = [name for name in sides if not (folder / name / "model.safetensors").exists()]
    if missing:
        raise BadInput(f"{folder} lacks {', '.join(missing)}; train them with `workbench mini train`")
    asked = questions(meanings, tasks)
    heads = _heads(asked)
    tables = []
    items = [one.item for one in asked]
    for name, side in sides.items():
        tables.append(heads.assign(member=name, side=side, **answered(folder / name, items, progress=True)))
    chosen = (
        [copy_choice(item) for item in items],
        ngram_choices(items, seed),
        ngram_choices(items, seed, languages=(PIVOT,)),
    )
    for name, places in zip(BASELINES, chosen, strict=True):
        correct = [place == item.gold for place, item in zip(places, items, strict=True)]
        tables.append(heads.assign(member=name, side="baseline", correct=correct, margin=0.0))
    return as_predictions(pd.concat(tables, ignore_index=True))


def _heads(asked: Sequence[Question]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "task": one.item.task,
            "language": one.item.language,
            "wordings": one.kind,
            "cluster": one.item.cluster,
            "template": one.item.template,
            "chance": 1 / len(one.item.choices),
        }
        for one in asked
    )


def as_predictions(table: pd.DataFrame) -> pd.DataFrame:
    """Order and convert a table's columns; names become categories, which makes a large table quick to query."""
    return table[list(COLUMNS)].astype(dict.fromkeys(("member", "side", *KEYS), "category"))


def read_predictions(path: Path) -> pd.DataFrame:
    """Read a table that `predictions(...).to_parquet(path)` wrote.

    Raises:
        BadInput: the file is not such a table; the message says what is missing.
    """
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read as parquet: {error}; write it with `predictions`") from error
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        raise BadInput(f"{path} lacks the columns {', '.join(missing)}; write it with `predictions`")
    return as_predictions(table)
