"""The tasks on the hub as a table: where their data are, how their rows are read, and how they are asked."""

import csv
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

from workbench.errors import BadInput, UnknownName
from workbench.paths import data_path
from workbench.prompts.rendering import read_text

Kind = Literal["rank", "pairs", "answers", "translation"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Benchmark:
    """One task; its fields are explained at the top of `data/benchmarks.toml`.

    `codes` gives the hub's code of a language where it differs from ours.
    """

    name: str
    split: str
    languages: tuple[str, ...]
    needed: tuple[str, ...]
    label: str = ""
    choices: int = 0
    wordings: str = ""
    kind: Kind = "rank"
    promptsource: str = ""
    five: tuple[str, ...] = ()
    published: str = ""
    hub_id: str = ""
    revision: str = ""
    config: str = ""
    files: str = "{config}/{split}/*.parquet"
    first_label: int = 0
    label_is_text: bool = False
    labels: tuple[str, ...] = ()
    skip_incomplete: bool = False
    meaning: str | tuple[str, ...] = ""
    per_meaning: int = 1
    answers: str = ""
    pivot: str = ""
    from_pivot: bool = False
    longest: int = 0
    texts: tuple[str, ...] = ()
    endings: tuple[str, ...] = ()
    attribute: str = ""
    order: tuple[int, ...] = ()
    file_words: tuple[str, ...] = ()
    by_hand: str = ""
    codes: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_generated(self) -> bool:
        """Whether models write the answers, so that there are no choices."""
        return self.kind in ("answers", "translation")

    def asked(self, languages: Sequence[str] = ()) -> list[str]:
        """Return the languages to ask about, by default all; a translation's pivot is none of them.

        Raises:
            UnknownName: one that the task does not have; the message lists those that it has.
        """
        known = [code for code in self.languages if code != self.pivot]
        for language in languages:
            if language not in known:
                raise UnknownName(f"{self.name} has no language {language!r}; it has: {', '.join(known)}")
        return list(languages or known)

    def read(self, languages: Sequence[str] = ()) -> list[str]:
        """Return the languages whose rows are read in order to ask about some.

        Raises:
            UnknownName: as `asked`.
        """
        return [*self.asked(languages), *([self.pivot] if self.pivot else [])]

    def pattern(self, language: str) -> str:
        """Return the pattern of the files on the hub that hold a language's rows."""
        return self.files.format(config=self.configuration(language), split=self.split)

    def configuration(self, language: str) -> str:
        """Return the name of a language's configuration on the hub."""
        return self.config.format(language=self.codes.get(language, language))

    @property
    def wordings_path(self) -> Path:
        """The file of our templates, or that of a described task."""
        name = self.wordings if self.wordings.endswith(".toml") else f"{self.wordings}.toml"
        return data_path("templates") / name

    def published_cell(self, language: str) -> tuple[str, str]:
        """Return the task and configuration in the table of published results."""
        task, config = self.published.format(language=language).split("/")
        return task, config


@lru_cache(maxsize=8)
def benchmarks(path: Path | None = None) -> dict[str, Benchmark]:
    """Return the published tasks by name, or those of a TOML file in the same form; its `wordings` are a file beside it.

    Raises:
        BadInput: the file is not TOML, or a table lacks a field or has an unknown one; the message names it.
    """
    table = path or data_path("benchmarks.toml")
    try:
        tables = tomllib.loads(read_text(table))["benchmark"]
        made = [_benchmark(each) for each in tables]
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise BadInput(
            f"{table} does not describe tasks: {error}; write tables [[benchmark]] as in data/benchmarks.toml"
        ) from error
    if path is not None:
        made = [replace(one, wordings=str(path.parent / one.wordings)) for one in made]
    return {one.name: one for one in made}


def _benchmark(table: dict[str, Any]) -> Benchmark:
    fields: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in table.items()
    }
    pairs = [str(one).partition("=") for one in fields["languages"]]
    fields |= {
        "languages": tuple(ours for ours, _, _ in pairs),
        "codes": {ours: theirs for ours, _, theirs in pairs if theirs},
    }
    made = Benchmark(**fields)
    if made.kind not in KINDS:
        raise TypeError(f"{made.name} has the kind {made.kind!r}, which is none of {', '.join(KINDS)}")
    return made


def contamination(*names: str) -> str:
    """Return why scores on a data set with these names are contaminated for the finetuned models; empty if no reason is known.

    A data set that was made from one in the mixture is contaminated too (Belebele and SIB-200, from Flores-200).

    Names are task names, hub ids or file names; they match a training set of xP3 by their words ("paws-x" matches paws_x).
    """
    texts = ["_" + "_".join(re.findall(r"[a-z0-9]+", name.lower())) + "_" for name in names]
    with data_path("contaminated.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if any(re.search(rf"_{row['name']}(_|\d)", text) for text in texts):
                what = f"was made from {row['made_from']}, which is" if row["made_from"] else "is"
                return f"{row['name']} {what} in the training data of {row['in']}: {row['what']}"
    return ""
