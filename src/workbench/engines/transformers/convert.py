"""Turn a checkpoint whose weights are only there as .bin into safetensors, with torch's weights-only loader.

A .bin is a pickle; the weights-only loader refuses everything in it but tensors. Several mT5 and mT0 repositories
may have no safetensors.
"""

import json
from pathlib import Path

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled
from safetensors.torch import save_file

from workbench.errors import BadInput, NotReachable, StoreFailed
from workbench.models.identity import _SETTINGS, _TOKENIZER, _folder_or_hub


def to_safetensors(name: str, output: Path, *, revision: str | None = None) -> Path:
    """Write a copy of a model with safetensors weights, tensor for tensor; returns the new folder.

    Raises:
        BadInput: the output folder is there already, there is no .bin, or it holds more than tensors.
        NotReachable: not on this machine, and the hub cannot be asked.
        StoreFailed: the disk did not take it; nothing is left behind.
    """
    if output.exists():
        raise BadInput(f"{output} is there already; name a new folder")
    source = _source(name, revision)
    shards = _shards(source)
    aside = output.with_name(f".{output.name}.part")
    try:
        aside.mkdir(parents=True, exist_ok=True)
        for file in (*_SETTINGS, *_TOKENIZER):
            if (source / file).exists():
                (aside / file).write_bytes((source / file).read_bytes())
        _write_weights(shards, aside)
        aside.rename(output)
    except OSError as error:
        raise StoreFailed(f"could not write {output}: {error}; free some space and try again") from error
    return output


def _source(name: str, revision: str | None) -> Path:
    folder, hub_id = _folder_or_hub(name)
    if folder is not None:
        return folder
    try:
        return Path(
            snapshot_download(
                str(hub_id),
                revision=revision,
                allow_patterns=["*.bin", "*.bin.index.json", *_SETTINGS, *_TOKENIZER],
            )
        )
    except (HTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise NotReachable(
            f"{name!r} is not on this machine and the hub cannot be reached: {error}"
        ) from error


def _shards(source: Path) -> list[Path]:
    index = source / "pytorch_model.bin.index.json"
    if index.exists():
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        return [source / name for name in names]
    if (source / "pytorch_model.bin").exists():
        return [source / "pytorch_model.bin"]
    raise BadInput(f"{source} has no pytorch_model.bin to convert")


def _write_weights(shards: list[Path], folder: Path) -> None:
    placed: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        try:
            tensors = torch.load(shard, map_location="cpu", weights_only=True)
        except Exception as error:  # whatever a hostile pickle makes torch raise, it is refused
            raise BadInput(
                f"{shard} holds more than tensors, or is damaged, and is not loaded: {error}"
            ) from error
        name = (
            "model.safetensors" if len(shards) == 1 else f"model-{number:05}-of-{len(shards):05}.safetensors"
        )
        whole = {
            key: tensor.clone().contiguous() for key, tensor in tensors.items()
        }  # tied tensors get their own bytes
        save_file(whole, folder / name, metadata={"format": "pt"})
        placed |= dict.fromkeys(whole, name)
    if len(shards) > 1:
        index = {"metadata": {}, "weight_map": placed}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1), encoding="utf-8")
