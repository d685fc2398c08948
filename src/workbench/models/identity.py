"""The identity of a model, found without loading it: the location of its files, and the digests that key its answers.

One digest covers the weights, config.json and generation_config.json, another the tokenizer; a copy in another folder is the
same model. The store remembers digests, so that answers can be found without reading the weights, and even without having
them. This module imports neither torch nor transformers.
"""

import os
import re
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import Any, Literal

from workbench import family
from workbench.errors import BadInput, UnknownName
from workbench.models.folders import (
    expect_loadable,
    expect_not_pickled,
    is_pickled,
    lacking,
    settings,
    settings_files,
    tokenizer_files,
    weight_files,
)
from workbench.models.hub import cached, fetch, is_hub_id
from workbench.paths import expanded
from workbench.store import Store, canonical

Source = Literal["folder", "hub", "file", "endpoint"]
_TRAINED_LENGTH = {"bloom": 2048, "mt5": 1024, "umt5": 1024, "t5": 512}
_ENCODER_DECODERS = {"t5", "mt5", "umt5", "bart", "mbart", "m2m_100", "pegasus", "marian"}
_SHA256 = re.compile(r"[0-9a-f]{64}")
_COARSEST_CLOCK = 2_000_000_000  # ns; some file systems have a time resolution of two seconds


@dataclass(frozen=True)
class Identity:
    """What a name stood for when it was resolved.

    `source` says where the model is opened from. `folder` is None for an endpoint, and if only stored answers are available.
    `weights` and `tokenizer` are hex digests; `commit` is the hub's. `context_length` is the model's maximum input in tokens.
    `states` records the file system's state of the digested files (inode, size, times).
    """

    name: str
    folder: Path | None
    hub_id: str | None
    commit: str | None
    weights: str
    tokenizer: str
    architecture: str
    is_encoder_decoder: bool
    context_length: int
    source: Source = "folder"
    states: tuple[tuple[str, tuple[int, ...] | None], ...] = field(default=(), compare=False, repr=False)

    @property
    def is_available(self) -> bool:
        """Whether the model can be opened from here, so that new answers can be computed."""
        return self.folder is not None or self.source == "endpoint"


def locate(name: str, revision: str | None = None) -> tuple[Path | None, str | None]:
    """Return a model's folder on this machine (or None) and its hub id (None for a folder); does not use the network.

    Raises:
        UnknownName: neither a name of a family, nor a folder, nor of the form `owner/model`.
        BadInput: a file, a folder that is no checkpoint, or a revision of a model that is not on the hub.
    """
    folder, hub_id = folder_or_hub(name)
    if hub_id is None:
        if revision is not None:
            raise BadInput(f"{name!r} is a folder and has no revisions; drop revision={revision!r}")
        return folder, None
    snapshot = cached(hub_id, revision)
    return (snapshot if snapshot is not None and not lacking(snapshot) else None), hub_id


def architecture_of(name: str, revision: str | None = None) -> str | None:
    """Return the model type that a name stands for, if it is known without a network, else None."""
    folder, hub_id = locate(name, revision)
    if folder is not None:
        return _model_type(settings(folder / "config.json"))
    known = [one for each in family.families() for one in each.checkpoints if one.hub_id == hub_id]
    return known[0].architecture if known else None


def whereabouts(name: str) -> str:
    """Describe briefly where a model's files are on this machine; empty if they are not here."""
    folder, hub_id = folder_or_hub(name)
    if hub_id is None:
        return "ships" if name in family.shipped() else str(folder)
    snapshot = cached(hub_id, None)
    if snapshot is None:
        return ""
    if is_pickled(snapshot):
        return "as .bin only: convert"
    return "in part" if lacking(snapshot) else "in the hub's cache"


def recall(name: str, revision: str | None, store: Store) -> Identity | None:
    """Return the identity that a name stands for, from the files here or else from the store; None if neither has it.

    Raises:
        BadInput: a folder that cannot be loaded, such as one without safetensors weights.
    """
    folder, hub_id = locate(name, revision)
    if folder is not None:
        return _read_identity(name, folder, hub_id, revision, store)
    known = store.identity(_remembered_as(folder, hub_id, revision))
    return Identity(**{**known, "name": name, "folder": None}) if known is not None else None


def identify(name: str, revision: str | None, store: Store, *, need_weights: bool = False) -> Identity:
    """Return the identity that a name stands for: as `recall`, or else from the hub.

    Args:
        need_weights: fetch the files even if the store remembers the identity.

    Raises:
        NotReachable: not on this machine, not remembered, and the hub cannot be reached.
        BadInput: as `recall`, or .bin weights in the hub's cache.
    """
    known = recall(name, revision, store)
    if known is not None and (known.folder is not None or not need_weights):
        return known
    _, hub_id = locate(name, revision)
    assert hub_id is not None  # `recall` always identifies a folder
    snapshot = cached(hub_id, revision)
    if snapshot is not None:
        expect_not_pickled(name, hub_id, snapshot)
    return _read_identity(name, fetch(name, hub_id, revision), hub_id, revision, store)


def expect_unchanged(identity: Identity, store: Store) -> None:
    """Check that the digested files have not changed; a file that was deleted counts as unchanged.

    Call it after reading weights, and again before storing answers, since memory-mapped weights follow a file that is
    overwritten in place.

    Raises:
        BadInput: a file's content has changed.
    """
    changed = [Path(path) for path, state in identity.states if _state(Path(path)) not in (state, None)]
    if not changed or identity.folder is None:
        return
    now = _digests(identity.folder, store)
    if now != (identity.weights, identity.tokenizer):
        raise BadInput(
            f"{', '.join(path.name for path in changed[:3])} in {identity.folder} changed after {identity.name} was loaded; "
            "load it again"
        )


def randomized(identity: Identity, seed: int, made_by: str) -> Identity:
    """Return the identity of the same architecture with random weights, drawn by the libraries named in `made_by`."""
    weights = blake2b(canonical([identity.weights, "random weights", seed, made_by]).encode(), digest_size=20)
    return replace(
        identity, name=f"{identity.name}, random weights, seed {seed}", weights=weights.hexdigest()
    )


def folder_or_hub(name: str) -> tuple[Path | None, str | None]:
    """Return the folder that a name stands for, or else the hub id.

    Raises:
        UnknownName: neither.
        BadInput: a file, or a folder that is no checkpoint.
    """
    try:
        checkpoint = family.find(name)
    except UnknownName as error:
        path = expanded(name)
        if name and os.path.isdir(path):  # pathlib's version raises if the name is too long
            return _checkpoint_folder(path.absolute()), None
        if name and os.path.isfile(path):
            raise BadInput(f"{path} is a file; name the folder that holds the checkpoint") from error
        if is_hub_id(name):
            return None, name
        raise
    return (checkpoint.folder, None) if checkpoint.folder else (None, checkpoint.hub_id)


def _checkpoint_folder(path: Path) -> Path:
    if (path / "config.json").is_file():
        return path
    if (path / "adapter_config.json").is_file():
        expect_loadable(path)
    raise BadInput(f"the folder {path} holds no config.json; name a folder in transformers' format")


def _remembered_as(folder: Path | None, hub_id: str | None, revision: str | None) -> str:
    return f"{hub_id}@{revision or 'main'}" if hub_id else str(folder)


def _read_identity(
    name: str, folder: Path, hub_id: str | None, revision: str | None, store: Store
) -> Identity:
    expect_loadable(folder)
    config = settings(folder / "config.json")
    model_type = _model_type(config)
    states = tuple((str(path), _state(path)) for path in _files(folder))  # before the digests
    weights, tokenizer = _digests(folder, store)
    identity = Identity(
        name=name,
        folder=folder,
        hub_id=hub_id,
        commit=folder.name if hub_id else None,
        weights=weights,
        tokenizer=tokenizer,
        architecture=model_type,
        is_encoder_decoder=bool(config.get("is_encoder_decoder", model_type in _ENCODER_DECODERS)),
        context_length=_context_length(folder, config, model_type),
        source="hub" if hub_id else "folder",
        states=states,
    )
    lasting = {key: value for key, value in asdict(identity).items() if key != "states"}
    store.remember_identity(_remembered_as(folder, hub_id, revision), {**lasting, "folder": None})
    return identity


def _model_type(config: dict[str, Any]) -> str:
    return str(config.get("model_type", "unknown"))


def _context_length(folder: Path, config: dict[str, Any], model_type: str) -> int:
    stated = [settings(folder / "tokenizer_config.json").get("model_max_length")]
    stated += [config.get(field) for field in ("seq_length", "n_positions", "max_position_embeddings")]
    for length in stated:
        if isinstance(length, int | float) and 0 < length < 10**7:  # 1e30 means "not stated" on the hub
            return int(length)
    return _TRAINED_LENGTH.get(model_type, 2048)


def _files(folder: Path) -> list[Path]:
    return [*weight_files(folder), *settings_files(folder), *tokenizer_files(folder)]


def _digests(folder: Path, store: Store) -> tuple[str, str]:
    weights = _digest_of([*weight_files(folder), *settings_files(folder)], store)
    return weights, _digest_of(tokenizer_files(folder), store)


def _digest_of(files: Iterable[Path], store: Store) -> str:
    parts = sorted((path.name, _sha256(path, store)) for path in files)
    return blake2b(canonical(parts).encode(), digest_size=20).hexdigest()


def _sha256(path: Path, store: Store) -> str:
    if path.is_symlink():
        # the hub's cache names a large file's blob by its sha256; only one link is followed, since the blob may be one too
        target = path.readlink()
        if target.parent.name == "blobs" and _SHA256.fullmatch(target.name):
            return target.name
    stat = path.stat()
    known = store.file_digest(path, stat)
    if known is None:
        with path.open("rb") as file:
            known = file_digest(file, "sha256").hexdigest()
        if time.time_ns() - stat.st_ctime_ns > _COARSEST_CLOCK and _state(path) == _state_of(stat):
            store.remember_file(path, stat, known)
    return known


def _state(path: Path) -> tuple[int, ...] | None:
    """Return a value that changes with a file's content, even if size and time are kept; None if the file is gone."""
    try:
        return _state_of(path.stat())
    except FileNotFoundError:
        return None


def _state_of(stat: os.stat_result) -> tuple[int, ...]:
    """Inode, size and times: a replaced file has another inode, and the change time of an inode cannot be set."""
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
