"""The held-out tasks of the published evaluation, as a table: where their data are and how to read their rows."""

import csv
import re
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from workbench.paths import data_path


@dataclass(frozen=True)
class Benchmark:
    """One task; its fields are explained at the top of `data/benchmarks.toml`."""

    name: str
    split: str
    languages: tuple[str, ...]
    needed: tuple[str, ...]
    label: str
    choices: int
    wordings: str
    promptsource: str
    five: tuple[str, ...]
    published: str
    hub_id: str = ""
    revision: str = ""
    config: str = ""
    first_label: int = 0
    label_is_text: bool = False
    meaning: str = ""
    per_meaning: int = 1
    order: tuple[int, ...] = ()
    file_words: tuple[str, ...] = ()
    by_hand: str = ""

    def published_cell(self, language: str) -> tuple[str, str]:
        """Return the task and configuration in the table of published results."""
        task, config = self.published.format(language=language).split("/")
        return task, config


@lru_cache(maxsize=1)
def benchmarks() -> dict[str, Benchmark]:
    """Return the published tasks by name."""
    tables = tomllib.loads(data_path("benchmarks.toml").read_text(encoding="utf-8"))["benchmark"]
    found: dict[str, Benchmark] = {}
    for table in tables:
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}
        found[table["name"]] = Benchmark(**fields)
    return found


def contamination(*names: str) -> str:
    """Return why scores on a data set with these names are contaminated for the finetuned models; empty if no reason is known.

    Names are task names, hub ids or file names; they match a training set of xP3 by their words ("paws-x" matches paws_x).
    """
    texts = ["_" + "_".join(re.findall(r"[a-z0-9]+", name.lower())) + "_" for name in names]
    with data_path("contaminated.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if any(re.search(rf"_{row['name']}(_|\d)", text) for text in texts):
                return f"{row['name']} is in the training data of {row['in']}: {row['what']}"
    return ""
