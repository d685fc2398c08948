"""What a source gives: rows with the wordings that ask about them, and what is known about their languages."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from workbench.prompts import Template
from workbench.tasks.benchmarks import Kind
from workbench.tasks.exposure import Exposure, exposures
from workbench.tasks.items import Item, make_items, pair_items
from workbench.tasks.selection import shared_meanings


@dataclass(frozen=True)
class Data:
    """A task's rows with their wordings, or texts (rows with a field `text`, and no wordings).

    `kind` says how it is asked (see `data/benchmarks.toml`): only items of the kind "rank" have choices to be ranked after a prompt.
    `source` says where they come from, with versions. `english` is the language code of the English wordings. `contaminated`
    says why scores on these data are not informative for finetuned models; empty if nothing is known. `untested` is set for
    paths on the hub that have not been tried. `attribute` is what probes read of texts by default.
    """

    task: str
    source: str
    rows: tuple[dict[str, Any], ...]
    templates: tuple[Template, ...] = ()
    english: str = "en"
    contaminated: str = ""
    untested: bool = False
    kind: Kind = "rank"
    attribute: str = ""

    @property
    def languages(self) -> tuple[Exposure, ...]:
        """The languages of the rows, with what each side of the family has seen of them."""
        return exposures(row["language"] for row in self.rows)

    def items(self, wordings: Sequence[Template] | None = None) -> list[Item]:
        """Fill wordings, by default the English ones, with all rows.

        Raises:
            BadInput: as `make_items`.
        """
        if self.kind == "pairs":
            return pair_items(self.rows)
        english = [one for one in self.templates if one.language == self.english]
        return make_items(self.rows, english if wordings is None else wordings)

    @property
    def is_parallel(self) -> bool:
        """Whether all its languages have the same meanings."""
        return len(shared_meanings(self.rows)) == len(self.rows)

    def accepted(self, item: Item) -> tuple[str, ...]:
        """Return all texts that are right for an item: every name that the source knows, or else its target."""
        return self._accepted.get((item.cluster, item.language), (item.target,))

    @cached_property
    def _accepted(self) -> dict[tuple[str, str], tuple[str, ...]]:
        known = (row for row in self.rows if "accepted" in row)
        return {(row["cluster"], row["language"]): tuple(row["accepted"]) for row in known}
