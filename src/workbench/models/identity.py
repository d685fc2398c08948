"""The identity of a model, found without loading it: the location of its files, and the digests that key its answers.

The store remembers identities, so that answers can be found without reading the weights, and even without having them. This
module imports neither torch nor transformers.
"""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from workbench.errors import BadInput
from workbench.models.digests import FileState, combined, digests, file_digests, file_state, file_states
from workbench.models.folders import expect_loadable, expect_not_pickled, model_type, settings
from workbench.models.hub import fetch
from workbench.models.places import Place, locate
from workbench.store import Store

Source = Literal["folder", "hub", "file", "endpoint"]
_TRAINED_LENGTH = {"bloom": 2048, "mt5": 1024, "umt5": 1024, "t5": 512}
_ENCODER_DECODERS = {"t5", "mt5", "umt5", "bart", "mbart", "m2m_100", "pegasus", "marian"}


@dataclass(frozen=True)
class Identity:
    """What a name stood for when it was resolved.

    `source` says where the model is opened from. `folder` is None for an endpoint, and if only stored answers are available.
    `weights` and `tokenizer` are hex digests; `commit` is the hub's. `context_length` is the model's maximum input in tokens.
    `file` is the file with the weights where one file has them beside no settings (GGUF), and `file_type` its type; `folder` is
    then that of the tokenizer. `states` records the file system's state of the digested files (inode, size, times).
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
    states: tuple[tuple[str, FileState], ...] = field(default=(), compare=False, repr=False)
    file: Path | None = None
    file_type: str | None = None

    @property
    def is_available(self) -> bool:
        """Whether the model can be opened from here, so that new answers can be computed."""
        return self.folder is not None or self.source == "endpoint"


def recall(name: str, revision: str | None, store: Store) -> Identity | None:
    """Return the identity that a name stands for, from the files here or else from the store; None if neither has it.

    Raises:
        BadInput: a folder that cannot be loaded, such as one without safetensors weights.
    """
    return _recall(locate(name, revision), store)


def identify(name: str, revision: str | None, store: Store, *, need_weights: bool = False) -> Identity:
    """Return the identity that a name stands for: as `recall`, or else from the hub.

    Args:
        need_weights: fetch the files even if the store remembers the identity.

    Raises:
        NotReachable: not on this machine, not remembered, and the hub cannot be reached.
        BadInput: as `recall`, or .bin weights in the hub's cache.
    """
    place = locate(name, revision)
    known = _recall(place, store)
    if known is not None and (known.folder is not None or not need_weights):
        return known
    assert place.hub_id is not None  # a folder always has an identity
    if (snapshot := place.snapshot) is not None:
        expect_not_pickled(name, place.hub_id, snapshot)
    return _read_identity(place, fetch(name, place.hub_id, revision), store)


def expect_unchanged(identity: Identity, store: Store) -> None:
    """Check that the digested files have not changed; a file that was deleted counts as unchanged.

    Call it after reading weights, and again before storing answers, since memory-mapped weights follow a file that is
    overwritten in place.

    Raises:
        BadInput: a file's content has changed.
    """
    changed = [Path(path) for path, state in identity.states if file_state(Path(path)) not in (state, None)]
    if not changed or identity.folder is None:
        return
    found = (
        file_digests(identity.file, identity.folder, store)
        if identity.file
        else digests(identity.folder, store)
    )
    if found != (identity.weights, identity.tokenizer):
        raise BadInput(
            f"{', '.join(path.name for path in changed[:3])} in {identity.folder} changed after {identity.name} was loaded; "
            "load it again"
        )


def randomized(identity: Identity, seed: int, made_by: str) -> Identity:
    """Return the identity of the same architecture with random weights, drawn by the libraries named in `made_by`."""
    weights = combined([identity.weights, "random weights", seed, made_by])
    return replace(identity, name=f"{identity.name}, random weights, seed {seed}", weights=weights)


def _recall(place: Place, store: Store) -> Identity | None:
    if (folder := place.folder) is not None:
        return _read_identity(place, folder, store)
    known = store.identity(place.key)
    return Identity(**{**known, "name": place.name, "folder": None}) if known is not None else None


def _read_identity(place: Place, folder: Path, store: Store) -> Identity:
    expect_loadable(folder)
    states = file_states(folder)  # before the digests
    weights, tokenizer = digests(folder, store)
    identity = Identity(
        name=place.name,
        folder=folder,
        hub_id=place.hub_id,
        commit=folder.name if place.hub_id else None,
        weights=weights,
        tokenizer=tokenizer,
        **configured(folder),
        source="hub" if place.hub_id else "folder",
        states=states,
    )
    remember(identity, place.key, store)
    return identity


def remember(identity: Identity, key: str, store: Store) -> None:
    """Keep an identity in the store under a key, without what only holds on this machine now."""
    passing = {"states", "file", *(() if identity.source == "file" else ("file_type",))}
    lasting = {name: value for name, value in asdict(identity).items() if name not in passing}
    store.remember_identity(key, {**lasting, "folder": None})


def configured(folder: Path) -> dict[str, Any]:
    """Return the fields of an identity that the configuration in a folder gives: architecture, its kind, and the context length."""
    config, architecture = settings(folder / "config.json"), model_type(folder)
    return {
        "architecture": architecture,
        "is_encoder_decoder": bool(config.get("is_encoder_decoder", architecture in _ENCODER_DECODERS)),
        "context_length": _context_length(folder, config, architecture),
    }


def _context_length(folder: Path, config: dict[str, Any], architecture: str) -> int:
    stated = [settings(folder / "tokenizer_config.json").get("model_max_length")]
    stated += [config.get(field) for field in ("seq_length", "n_positions", "max_position_embeddings")]
    for length in stated:
        if isinstance(length, int | float) and 0 < length < 10**7:  # 1e30 means "not stated" on the hub
            return int(length)
    return _TRAINED_LENGTH.get(architecture, 2048)
