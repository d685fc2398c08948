"""Which model a name stands for, without loading it: where its files are, and the digests that key its answers.

The digest covers weights, config.json and generation_config.json, and apart from them the tokenizer; a copy under
another path is the same model. Digests are remembered in the store, so that a name finds its answers without its
gigabytes being read, or being there at all. No torch and no transformers here.
"""

import json
import re
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import (
    GatedRepoError,
    HTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from workbench import family
from workbench.errors import BadInput, NotReachable, UnknownName
from workbench.paths import data_path
from workbench.store import Store, canonical

WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_SETTINGS = ("config.json", "generation_config.json")
_TOKENIZER = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "spiece.model",
    "sentencepiece.bpe.model", "tokenizer.model", "vocab.json", "merges.txt",
)  # fmt: skip
_TRAINED_LENGTH = {"bloom": 2048, "mt5": 1024, "umt5": 1024, "t5": 512}
_ENCODER_DECODERS = {"t5", "mt5", "umt5", "bart", "mbart", "m2m_100", "pegasus", "marian"}
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SECONDS_FOR_A_SIGN_OF_LIFE = 5.0


@dataclass(frozen=True)
class Identity:
    """What a name stood for when it was looked up.

    `folder` is None where only its answers are known; `weights` and `tokenizer` are hex digests; `commit` is the hub's;
    `context_length` is the longest input in tokens that the model was made for.
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


def locate(name: str, revision: str | None = None) -> tuple[Path | None, str | None]:
    """Find a model's folder on this machine and its hub id (None for a folder); asks no network.

    Raises:
        UnknownName: neither a name of the family, nor a folder with a config.json, nor of the form `owner/model`.
        BadInput: a revision for something that is not on the hub.
    """
    folder, hub_id = _folder_or_hub(name)
    if hub_id is None:
        if revision is not None:
            raise BadInput(f"{name!r} is a folder and has no revisions; drop revision={revision!r}")
        return folder, None
    config = try_to_load_from_cache(hub_id, "config.json", revision=revision)
    snapshot = Path(config).parent if isinstance(config, str) else None
    return (snapshot if snapshot is not None and _is_whole(snapshot) else None), hub_id


def recall(name: str, revision: str | None, store: Store) -> Identity | None:
    """Say which model a name stands for from the files here, else from the store's memory; None if neither knows.

    Raises:
        BadInput: a folder without safetensors weights.
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
        BadInput: a folder without safetensors weights.
    """
    known = recall(name, revision, store)
    if known is not None and (known.folder is not None or not need_weights):
        return known
    _, hub_id = locate(name, revision)
    return _read_identity(name, _fetch(name, str(hub_id), revision), hub_id, revision, store)


def randomized(identity: Identity, seed: int, made_by: str) -> Identity:
    """The identity of the same architecture with random weights, as drawn by the libraries named in `made_by`."""
    weights = blake2b(canonical([identity.weights, "random weights", seed, made_by]).encode(), digest_size=20)
    return replace(
        identity, name=f"{identity.name}, random weights, seed {seed}", weights=weights.hexdigest()
    )


def _folder_or_hub(name: str) -> tuple[Path | None, str | None]:
    try:
        checkpoint = family.find(name)
    except UnknownName as error:
        path = Path(name).expanduser()
        if path.is_dir():
            if not (path / "config.json").is_file():
                raise BadInput(
                    f"the folder {path} holds no config.json; name a folder in transformers' format"
                ) from error
            return path.absolute(), None
        if re.fullmatch(r"[\w.-]+/[\w.-]+", name) and not name.startswith("."):
            return None, name
        raise
    if family.is_miniature(checkpoint.hub_id):
        return data_path("mini/models") / checkpoint.name, None
    return None, checkpoint.hub_id


def _is_whole(folder: Path) -> bool:
    return any((folder / name).exists() for name in WEIGHTS) and all(
        path.exists() for path in _weight_files(folder)
    )


def _weight_files(folder: Path) -> list[Path]:
    index = folder / WEIGHTS[1]
    if index.exists():
        shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        return [index, *(folder / shard for shard in shards)]
    if (folder / WEIGHTS[0]).exists():
        return [folder / WEIGHTS[0]]
    if any(folder.glob("*.bin")):
        raise BadInput(
            f"{folder} has weights only as .bin (pickle), which are never loaded; "
            f"`workbench convert {folder} --to safetensors --output FOLDER` makes a copy that can be"
        )
    raise BadInput(f"{folder} holds no weights (model.safetensors)")


def _fetch(name: str, hub_id: str, revision: str | None) -> Path:
    """Download what a model needs, after a quick sign of life (the client alone would retry for 20 seconds)."""
    hint = (
        f"with a network, `hf download {hub_id}` fetches it once; the miniatures work offline: "
        f"{', '.join(family.shipped_miniatures())}"
    )
    try:
        listing = HfApi().model_info(hub_id, revision=revision, timeout=_SECONDS_FOR_A_SIGN_OF_LIFE)
        files = {sibling.rfilename for sibling in listing.siblings or []}
        if files and not files & set(WEIGHTS):
            raise BadInput(
                f"{hub_id} has no safetensors; on a machine with a network run "
                f"`workbench convert {name} --to safetensors --output FOLDER` and load that folder"
            )
        patterns = ["*.safetensors", WEIGHTS[1], *_SETTINGS, *_TOKENIZER]
        return Path(snapshot_download(hub_id, revision=revision, allow_patterns=patterns))
    except (RepositoryNotFoundError, RevisionNotFoundError, GatedRepoError) as error:
        raise NotReachable(
            f"the hub has no {hub_id!r} at revision {revision or 'main'!r} for you: {error}"
        ) from error
    except (HTTPError, OfflineModeIsEnabled) as error:
        raise NotReachable(
            f"{name!r} is neither on this machine nor in the store, and the hub cannot be reached; {hint}"
        ) from error


def _remembered_as(folder: Path | None, hub_id: str | None, revision: str | None) -> str:
    return f"{hub_id}@{revision or 'main'}" if hub_id else str(folder)


def _read_identity(
    name: str, folder: Path, hub_id: str | None, revision: str | None, store: Store
) -> Identity:
    config = _read_json(folder / "config.json")
    model_type = str(config.get("model_type", "unknown"))
    settings = [folder / file for file in _SETTINGS if (folder / file).exists()]
    tokenizer = [folder / file for file in _TOKENIZER if (folder / file).exists()]
    identity = Identity(
        name=name,
        folder=folder,
        hub_id=hub_id,
        commit=folder.name if hub_id else None,
        weights=_digest_of([*_weight_files(folder), *settings], store),
        tokenizer=_digest_of(tokenizer, store),
        architecture=model_type,
        is_encoder_decoder=bool(config.get("is_encoder_decoder", model_type in _ENCODER_DECODERS)),
        context_length=_context_length(folder, config, model_type),
    )
    store.remember_identity(_remembered_as(folder, hub_id, revision), {**asdict(identity), "folder": None})
    return identity


def _context_length(folder: Path, config: dict[str, Any], model_type: str) -> int:
    stated = [_read_json(folder / "tokenizer_config.json").get("model_max_length")]
    stated += [config.get(field) for field in ("seq_length", "n_positions", "max_position_embeddings")]
    for length in stated:
        if (
            isinstance(length, int | float) and 0 < length < 10**7
        ):  # 1e30 is the hub's way to say "not stated"
            return int(length)
    return _TRAINED_LENGTH.get(model_type, 2048)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except json.JSONDecodeError as error:
        raise BadInput(f"{path} is not JSON: {error}; fetch the model again") from error


def _digest_of(files: list[Path], store: Store) -> str:
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
        store.remember_file(path, stat, known)
    return known
