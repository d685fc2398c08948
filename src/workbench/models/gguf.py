"""The identity of a GGUF file: where it is, the digest of its content, and the checkpoint whose tokenizer fits it.

The file is named by its path, or by a repository on the hub and its type. The tokenizer is that of the checkpoint that the name or
the file states, or one that lies beside the file.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from workbench.downloads import download, look_up
from workbench.errors import BadInput, UnknownName, WorkbenchError
from workbench.family import GgufName, gguf_name, stated
from workbench.gguf_header import read_header
from workbench.models.digests import file_digests, file_state, file_states
from workbench.models.folders import SETTINGS, lacking, listed
from workbench.models.hub import cached, fetch, remedied, repository_of
from workbench.models.identity import Identity, configured, remember
from workbench.models.places import Place, locate
from workbench.store import Store

ARCHITECTURES = {"bloom": "bloom", "t5": "mt5"}  # in llama.cpp: in transformers


@dataclass(frozen=True)
class GgufPlace:
    """A GGUF file, on this machine if `path` is given, and the name that it was given."""

    name: str
    parts: GgufName
    revision: str | None
    path: Path | None

    @property
    def key(self) -> str:
        """The key under which the store remembers the identity."""
        parts = self.parts
        return f"gguf {parts.hub_id}@{self.revision or 'main'}:{parts.file}#{parts.checkpoint}"


def place_of(name: str, revision: str | None) -> GgufPlace:
    """Return the place of a GGUF file.

    Raises:
        UnknownName: no such file.
        BadInput: a revision of a file that is not on the hub, or several files of that type in the repository.
    """
    parts = gguf_name(name)
    if parts.path is not None:
        if revision is not None:
            raise BadInput(f"{name!r} is a file and has no revisions; drop revision={revision!r}")
        if not parts.path.is_file():
            raise UnknownName(f"there is no file {parts.path}; give the path of a .gguf file")
        return GgufPlace(name, parts, None, parts.path)
    snapshot = cached(str(parts.hub_id), revision)
    names = [path.name for path in snapshot.glob("*.gguf")] if snapshot else []
    found = _of_type(parts, names)
    return GgufPlace(name, parts, revision, snapshot / found if snapshot and found else None)


def recall(name: str, revision: str | None, store: Store) -> Identity | None:
    """Return the identity that a name stands for, from the files here or else from the store; None if neither has it.

    Raises:
        BadInput: a file that is damaged, not of BLOOM or mT5, or does not state its checkpoint.
    """
    place = place_of(name, revision)
    if place.path is not None and (folder := _tokenizer_folder(place, place.path)) is not None:
        return _read(place, place.path, folder, store)
    known = store.identity(place.key) if place.parts.hub_id else None
    return Identity(**{**known, "name": name, "folder": None}) if known is not None else None


def identify(name: str, revision: str | None, store: Store, *, need_weights: bool = False) -> Identity:
    """Return the identity that a name stands for: as `recall`, or else from the hub, file and tokenizer as they are missing.

    Raises:
        NotReachable: something is neither here nor remembered, and the hub cannot be reached.
        BadInput: as `recall`.
    """
    known = recall(name, revision, store)
    if known is not None and (known.folder is not None or not need_weights):
        return known
    place = place_of(name, revision)
    path = place.path or _fetch_file(place)
    folder = _tokenizer_folder(place, path) or _fetch_tokenizer(place, path)
    return _read(place, path, folder, store)


def expect_gguf(path: Path) -> None:
    """Check that a file is of an architecture that is computed here.

    Raises:
        BadInput: it is damaged, or of another architecture.
    """
    if (found := read_header(path).architecture) not in ARCHITECTURES:
        raise BadInput(
            f"{path} holds a model of the architecture {found!r}; GGUF files of BLOOM and mT5 can be loaded"
        )


def _of_type(parts: GgufName, names: list[str]) -> str | None:
    """Return the file of a repository that a name selects: by its whole name, or by the type at its end."""
    if parts.file in names:
        return parts.file
    ending = re.compile(rf"(^|[-_.]){re.escape(parts.file)}\.gguf", re.IGNORECASE)
    found = [name for name in names if ending.search(name)]
    if len(found) > 1:
        raise BadInput(
            f"{parts.hub_id} has {len(found)} files of the type {parts.file}: name one, {parts.hub_id}:{found[0]}"
        )
    return found[0] if found else None


def _fetch_file(place: GgufPlace) -> Path:
    parts = place.parts
    with remedied(place.name, str(parts.hub_id), place.revision):
        listing = look_up(repository_of(str(parts.hub_id), place.revision))
        names = [file.name for file in listing.files if file.name.endswith(".gguf")]
        chosen = _of_type(parts, names)
        if chosen is None:
            raise UnknownName(
                f"{parts.hub_id} has no GGUF file of the type {parts.file}; it has: {listed(sorted(names)) or 'none'}"
            )
        folder = download(listing, [file for file in listing.files if file.name == chosen])
    return folder / chosen


def _tokenizers(place: GgufPlace, path: Path) -> list[Place]:
    """Return the checkpoints that may have the file's tokenizer, the likeliest first.

    Raises:
        BadInput: a checkpoint that was named and cannot be one.
    """
    found = []
    for name in stated(place.parts, path):
        try:
            found.append(locate(name))
        except WorkbenchError:
            if place.parts.checkpoint:
                raise
    return found


def _tokenizer_folder(place: GgufPlace, path: Path) -> Path | None:
    """Return the folder on this machine of the tokenizer; None if it has to be fetched.

    Raises:
        BadInput: the file states no checkpoint, and none was named.
    """
    places = _tokenizers(place, path)
    folders = [one.snapshot for one in places]
    if not place.parts.checkpoint and (path.parent / SETTINGS[0]).is_file():
        folders.append(path.parent)
    whole = [folder for folder in folders if folder is not None and not lacking(folder, weights=False)]
    if not whole and not any(one.hub_id for one in places):
        raise BadInput(
            f"{path} does not state the checkpoint that it was made of, whose tokenizer is needed; name it: "
            f"load({place.name!r}, tokenizer='bloomz-560m'), or {place.name}#bloomz-560m"
        )
    return whole[0] if whole else None


def _fetch_tokenizer(place: GgufPlace, path: Path) -> Path:
    found = next(one for one in _tokenizers(place, path) if one.hub_id)
    return fetch(found.name, str(found.hub_id), found.revision, weights=False)


def _read(place: GgufPlace, path: Path, folder: Path, store: Store) -> Identity:
    header = read_header(path)
    facts = configured(folder)
    if (wanted := ARCHITECTURES.get(header.architecture)) != facts["architecture"]:
        raise BadInput(
            f"{path} holds a model of the architecture {header.architecture!r}, "
            + (
                f"and {folder.name} is the tokenizer of a {facts['architecture']}; name the checkpoint that the file was made of"
                if wanted
                else "and GGUF files of BLOOM and mT5 can be loaded"
            )
        )
    states = ((str(path), file_state(path)), *file_states(folder, weights=False))
    weights, tokenizer = file_digests(path, folder, store)
    is_on_hub = place.parts.hub_id is not None
    identity = Identity(
        name=place.name,
        folder=folder,
        hub_id=place.parts.hub_id,
        commit=path.parent.name if is_on_hub else None,
        weights=weights,
        tokenizer=tokenizer,
        **facts,
        source="file",
        states=states,
        file=path,
        file_type=header.file_type,
    )
    if is_on_hub:
        remember(replace(identity, file=None), place.key, store)
    return identity
