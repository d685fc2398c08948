"""The identities of models as a store remembers them, and the names they get on other machines."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Any

from workbench.store.keys import checksum_of

# The fields of `models.identity.Identity` that are remembered; a test compares the two.
IDENTITY: dict[str, tuple[type, ...]] = {
    "name": (str,),
    "folder": (NoneType,),
    "hub_id": (str, NoneType),
    "commit": (str, NoneType),
    "weights": (str,),
    "tokenizer": (str,),
    "architecture": (str,),
    "is_encoder_decoder": (bool,),
    "context_length": (int,),
    "source": (str,),
}
OF_FILES: dict[str, tuple[type, ...]] = {"file_type": (str,)}  # remembered of GGUF files only


def identity_in(name: object, text: object, checksum: object) -> dict[str, Any] | None:
    """Return the identity in a row; None if another version wrote it with other fields.

    Raises:
        ValueError: the row is damaged.
    """
    if not isinstance(name, str) or not isinstance(text, str) or checksum != checksum_of(name, text):
        raise ValueError("its checksum does not match")
    try:
        about = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(about, dict):
        return None
    fields = {**IDENTITY, **OF_FILES} if about.get("source") == "file" else IDENTITY
    fits = about.keys() == fields.keys() and all(type(about[name]) in kinds for name, kinds in fields.items())
    return about if fits else None


def public_identities(identities: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return remembered identities under names that make sense on any machine.

    A model folder is known by its base name, without its path; if several weights share a name, 8 digits of the digest are
    appended. Models from the hub keep their id and revision.
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
