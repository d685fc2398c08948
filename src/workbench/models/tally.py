"""Counts of answers taken from the store, of answers computed, and of those computed twice as a check."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Tally:
    """Numbers of answers: taken from the store, by the device family that computed them, and missing there."""

    hits_by_device: Mapping[str, int] = field(default_factory=dict)
    misses: int = 0

    @property
    def hits(self) -> int:
        """The number of answers taken from the store."""
        return sum(self.hits_by_device.values())

    def __add__(self, other: "Tally") -> "Tally":
        devices = Counter(self.hits_by_device) + Counter(other.hits_by_device)
        return Tally(dict(devices), self.misses + other.misses)

    def facts(self) -> dict[str, Any]:
        """Return the tally as it is written into manifests."""
        return {
            "store_hits": self.hits,
            "store_misses": self.misses,
            "hits_by_device": dict(self.hits_by_device),
        }

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> "Tally":
        """Return the tally in a manifest's facts about a model; zero if there is none."""
        return cls(facts.get("hits_by_device", {}), facts.get("store_misses", 0))


@dataclass(frozen=True)
class Audit:
    """A check in which some ranked items were scored again, each in its own batch.

    `largest_difference` is in nats; `flips` are the items whose prediction would change.
    """

    items: int = 0
    largest_difference: float = 0.0
    flips: tuple[str, ...] = ()

    def __add__(self, other: "Audit") -> "Audit":
        largest = max(self.largest_difference, other.largest_difference)
        return Audit(self.items + other.items, largest, (*self.flips, *other.flips))

    def facts(self) -> dict[str, Any]:
        """Return the audit as it is written into manifests."""
        return {**vars(self), "flips": list(self.flips)}
