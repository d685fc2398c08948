"""The identity of a model on a server: a checkpoint and a revision that are declared, with the tokenizer that is here.

The digest of its weights is that of the declaration: of the hub id and revision or, for a checkpoint in a folder here, of the
files. It never equals a digest of weights that were read.
"""

from dataclasses import replace
from pathlib import Path

from workbench.errors import BadInput
from workbench.family import served_name
from workbench.models.digests import combined, digests, settings_digest, tokenizer_digest
from workbench.models.folders import lacking, listed
from workbench.models.hub import fetch
from workbench.models.identity import Identity, configured, remember
from workbench.models.places import Place, locate
from workbench.store import Store


def place_of(name: str, revision: str | None) -> Place:
    """Return the place of the declared checkpoint.

    Raises:
        UnknownName, BadInput: as `served_name` and `locate`.
    """
    return locate(served_name(name).checkpoint, revision)


def recall(name: str, revision: str | None, store: Store) -> Identity | None:
    """Return the declared identity, from the files here or else from the store; None if neither has it."""
    place = place_of(name, revision)
    if (folder := _folder(place)) is not None:
        return _read(name, place, folder, store)
    known = store.identity(_key(place))
    return Identity(**{**known, "name": name, "folder": None}) if known is not None else None


def identify(name: str, revision: str | None, store: Store, *, need_weights: bool = False) -> Identity:
    """Return the declared identity: as `recall`, or else with configuration and tokenizer from the hub.

    Raises:
        NotReachable: neither here nor remembered, and the hub cannot be reached.
    """
    known = recall(name, revision, store)
    return known or _read(name, place_of(name, revision), tokenizer_folder(name, revision), store)


def tokenizer_folder(name: str, revision: str | None) -> Path:
    """Return the folder of the declared checkpoint's configuration and tokenizer, from the hub if they are not here.

    Raises:
        NotReachable: they are not here, and the hub cannot be reached.
        BadInput: a local folder without them.
    """
    place = place_of(name, revision)
    folder = _folder(place)
    if folder is None:
        assert place.hub_id is not None  # a folder is refused by `_folder`
        folder = fetch(place.name, place.hub_id, revision, weights=False)
    return folder


def _folder(place: Place) -> Path | None:
    folder = place.snapshot
    if folder is None or not (absent := lacking(folder, weights=False)):
        return folder
    if place.hub_id is None:
        raise BadInput(
            f"{folder} lacks {listed(absent)}; a server's prompts are made with the tokenizer of its checkpoint"
        )
    return None


def _read(name: str, place: Place, folder: Path, store: Store) -> Identity:
    identity = Identity(
        name=name,
        folder=None,
        hub_id=place.hub_id,
        commit=place.revision,
        weights=combined(["declared", *_declaration(place, folder, store)]),
        tokenizer=tokenizer_digest(folder, store),
        **configured(folder),
        source="endpoint",
    )
    remember(replace(identity, name=f"{place.name}, declared"), _key(place), store)
    return identity


def _declaration(place: Place, folder: Path, store: Store) -> list[str]:
    if place.hub_id is not None:
        return [place.key]
    return (
        [digests(folder, store)[0]] if not lacking(folder) else [folder.name, settings_digest(folder, store)]
    )


def _key(place: Place) -> str:
    return f"declared {place.key}"
