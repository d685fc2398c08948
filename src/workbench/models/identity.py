"""Which model a name stands for, without loading it: where its files are, and the digests that key its answers.

The digest covers weights, config.json and generation_config.json, and apart from them the tokenizer; a copy under
another path is the same model. Digests are remembered in the store, so that a name finds its answers without its
gigabytes being read, or being there at all. No torch and no transformers here.
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
_COARSEST_CLOCK = 2_000_000_000  # ns; some file systems keep times in steps of two seconds


@dataclass(frozen=True)
class Identity:
    """What a name stood for when it was looked up.

    `source` says where it is opened from; `folder` is None where only its answers are known, and of an endpoint; `weights` and `tokenizer` are hex digests; `commit` is the hub's;
    `context_length` is the longest input in tokens that the model was made for; `states` says in which state the
    digested files were.
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
        """Whether it can be opened from here, so that more than its stored answers can be had."""
        return self.folder is not None or self.source == "endpoint"


def locate(name: str, revision: str | None = None) -> tuple[Path | None, str | None]:
    """Find a model's folder on this machine and its hub id (None for a folder); asks no network.

    Raises:
        UnknownName: neither a name of the family, nor a folder with a config.json, nor of the form `owner/model`.
        BadInput: a revision for something that is not on the hub.
    """
    folder, hub_id = folder_or_hub(name)
    if hub_id is None:
        if revision is not None:
            raise BadInput(f"{name!r} is a folder and has no revisions; drop revision={revision!r}")
        return folder, None
    snapshot = cached(hub_id, revision)
    return (snapshot if snapshot is not None and not lacking(snapshot) else None), hub_id


def architecture_of(name: str, revision: str | None = None) -> str | None:
    """The model type that a name stands for, where that can be said without a network."""
    folder, hub_id = locate(name, revision)
    if folder is not None:
        return _model_type(settings(folder / "config.json"))
    known = [one for each in family.families() for one in each.checkpoints if one.hub_id == hub_id]
    return known[0].architecture if known else None


def whereabouts(name: str) -> str:
    """Say in a few words where the files of a model are on this machine; empty where they are not."""
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
    """Say which model a name stands for from the files here, else from the store's memory; None if neither knows.

    Raises:
        BadInput: a folder that cannot be loaded, such as one without safetensors weights.
    """
    folder, hub_id = locate(name, revision)
    if folder is not None:
        return _read_identity(name, folder, hub_id, revision, store)
    known = store.identity(_remembered_as(folder, hub_id, revision))
    return Identity(**{**known, "name": name, "folder": None}) if known is not None else None


def identify(name: str, revision: str | None, store: Store, *, need_weights: bool = False) -> Identity:
    """Say which model a name stands for: as `recall`, else from the hub.

    Args:
        need_weights: fetch the files even where the store remembers the identity.

    Raises:
        NotReachable: not here, not remembered, and the hub cannot be asked.
        BadInput: as `recall`, or .bin weights in the hub's cache.
    """
    known = recall(name, revision, store)
    if known is not None and (known.folder is not None or not need_weights):
        return known
    _, hub_id = locate(name, revision)
    assert hub_id is not None  # what is a folder is known
    snapshot = cached(hub_id, revision)
    if snapshot is not None:
        expect_not_pickled(name, hub_id, snapshot)
    return _read_identity(name, fetch(name, hub_id, revision), hub_id, revision, store)


def expect_unchanged(identity: Identity, store: Store) -> None:
    """Refuse files that are no longer those that were digested; one that is gone cannot have changed.

    Two looks at the same state enclose a file that stood still: ask after reading weights, and before storing
    answers, since weights that are mapped into memory follow a file that is written in place.

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
    """The identity of the same architecture with random weights, as drawn by the libraries named in `made_by`."""
    weights = blake2b(canonical([identity.weights, "random weights", seed, made_by]).encode(), digest_size=20)
    return replace(
        identity, name=f"{identity.name}, random weights, seed {seed}", weights=weights.hexdigest()
    )


def folder_or_hub(name: str) -> tuple[Path | None, str | None]:
    """The folder that a name stands for, or else the hub id.

    Raises:
        UnknownName: neither.
        BadInput: a file, or a folder that is no checkpoint.
    """
    try:
        checkpoint = family.find(name)
    except UnknownName as error:
        path = expanded(name)
        if name and os.path.isdir(path):  # (pathlib's raises on too long a name)
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
        if (
            isinstance(length, int | float) and 0 < length < 10**7
        ):  # 1e30 is the hub's way to say "not stated"
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
    if (
        path.is_symlink()
    ):  # the hub's cache names a large file's blob by its sha256; a link may lead on, so one step only
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
    """What changes with a file's content, also where its size and its time are kept; None if it is gone."""
    try:
        return _state_of(path.stat())
    except FileNotFoundError:
        return None


def _state_of(stat: os.stat_result) -> tuple[int, ...]:
    """A file that takes another's place has another inode, and an inode's time of change cannot be set."""
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
