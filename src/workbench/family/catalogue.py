"""The built-in family: the 28 checkpoints of BLOOMZ & mT0 and their bases, from `data/checkpoints.csv`.

Each row has a source; a value that we could not verify is named in the row's `unverified` column and displayed with a question
mark. Imports neither model code nor pandas.
"""

import csv
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from functools import lru_cache
from types import MappingProxyType

from workbench.family.checkpoints import Checkpoint
from workbench.paths import data_path

PUBLISHED_TRUNCATION = MappingProxyType(
    {"bloom": 2048, "mt5": 512}
)  # input tokens in the published evaluation
_NUMBERS = (
    "parameters",
    "layers",
    "width",
    "heads",
    "feed_forward",
    "vocabulary",
    "steps",
    "tokens",
    "context_length",
)


@lru_cache(maxsize=1)
def checkpoints() -> tuple[Checkpoint, ...]:
    """Return the 28 checkpoints of the family, BLOOM side first, each base before the models finetuned from it."""
    return tuple(_checkpoint(row) for row in rows_of("checkpoints.csv"))


def named(name: str, among: Iterable[Checkpoint]) -> Checkpoint | None:
    """Return the checkpoint with this short name or hub id; None if there is none."""
    return next((one for one in among if name in (one.name, one.hub_id)), None)


def nearest(name: str, known: Sequence[str]) -> str:
    """Return a hint with the names nearest to a wrong one, or with all names if none is near."""
    near = get_close_matches(name, known, n=4, cutoff=0.4)
    return f"nearest: {', '.join(near)}" if near else f"known: {', '.join(known)}"


def _checkpoint(row: dict[str, str]) -> Checkpoint:
    fields: dict[str, object] = {key: value or None for key, value in row.items()}
    fields |= {key: int(row[key]) if row[key] else None for key in _NUMBERS}
    return Checkpoint(**{**fields, "unverified": tuple(row["unverified"].split())})  # type: ignore[arg-type]


def rows_of(name: str) -> Iterable[dict[str, str]]:
    """Yield the rows of a CSV file of the data folder."""
    with data_path(name).open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)
