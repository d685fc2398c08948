"""What the models that a store remembers are called outside this machine."""

from pathlib import Path
from typing import Any


def public_identities(identities: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Remembered identities under names that mean something on any machine.

    A folder is called by its own name, without where it lies; where several weights share a name, 8 digits of the digest
    tell them apart. What came from the hub keeps its id and revision.
    """
    public: dict[str, dict[str, Any]] = {}
    for remembered, about in identities.items():
        name, label = about["name"], remembered
        if about["hub_id"] is None:
            name = label = Path(name).name
            if public.get(label, about)["weights"] != about["weights"]:
                label = f"{name} {about['weights'][:8]}"
        public[label] = {**about, "name": name}
    return public
