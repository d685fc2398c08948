"""Short names of models for figures and sentences."""

from collections.abc import Iterable
from pathlib import Path


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Return for each name or folder its last part, or as many of the last parts as distinguish all of them."""
    parts = {name: Path(name).parts for name in names}
    for length in range(1, max(map(len, parts.values()), default=0) + 1):
        found = {name: "/".join(own[-length:]) for name, own in parts.items()}
        if len(set(found.values())) == len(found):
            return found
    return {name: name for name in parts}
