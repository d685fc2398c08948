"""Conversion of checkpoints with .bin weights into safetensors, using torch's weights-only loader.

A .bin file is a pickle; the weights-only loader refuses everything in it but tensors. Several mT5 and mT0 repositories
may have no safetensors.
"""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from workbench.errors import BadInput, StoreFailed
from workbench.models.folders import (
    INDEX,
    PICKLED,
    PICKLED_INDEX,
    SINGLE,
    expect_content,
    settings_files,
    shards,
    tokenizer_files,
)
from workbench.models.hub import fetch
from workbench.models.places import locate


def to_safetensors(name: str, output: Path, *, revision: str | None = None) -> Path:
    """Write a copy of a model with safetensors weights, tensor by tensor, and return the new folder.

    Raises:
        BadInput: the output folder exists, there is no .bin, or it holds more than tensors.
        NotReachable: not on this machine, and the hub cannot be reached.
        StoreFailed: the copy could not be written; nothing is left behind.
    """
    if output.exists():
        raise BadInput(f"{output} already exists; name a new folder")
    source = _source(name, revision)
    pickles = _pickles(source)
    aside = output.with_name(f".{output.name}.part")
    try:
        aside.mkdir(parents=True, exist_ok=True)
        for file in (*settings_files(source), *tokenizer_files(source)):
            shutil.copyfile(file, aside / file.name)
        _write_weights(pickles, aside)
        aside.rename(output)
    except OSError as error:
        raise StoreFailed(f"could not write {output}: {error}; free some space and try again") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return output


def _source(name: str, revision: str | None) -> Path:
    """Return the folder with the .bin files: the named one, the one in the hub's cache, or a new download."""
    place = locate(name, revision)
    folder = place.snapshot
    if folder is not None and (place.hub_id is None or all(path.exists() for path in _expected(folder))):
        return folder
    assert place.hub_id is not None
    return fetch(name, place.hub_id, revision, pickled=True)


def _expected(source: Path) -> list[Path]:
    index = source / PICKLED_INDEX
    return shards(index) if index.exists() else [source / PICKLED]


def _pickles(source: Path) -> list[Path]:
    expected = _expected(source)
    absent = [path.name for path in expected if not path.exists()]
    if absent:
        raise BadInput(f"{source} has no {', '.join(absent[:3])} to convert")
    for path in expected:
        expect_content(path)
    return expected


def _write_weights(pickles: list[Path], folder: Path) -> None:
    placed: dict[str, str] = {}
    for number, pickle in enumerate(pickles, start=1):
        tensors = _tensors(pickle)
        name = SINGLE if len(pickles) == 1 else f"model-{number:05}-of-{len(pickles):05}.safetensors"
        apart = {key: tensor.clone().contiguous() for key, tensor in tensors.items()}  # even tied ones
        save_file(apart, folder / name, metadata={"format": "pt"})
        placed |= dict.fromkeys(apart, name)
    if len(pickles) > 1:
        index = {"metadata": {}, "weight_map": placed}
        (folder / INDEX).write_text(json.dumps(index, indent=1), encoding="utf-8")


def _tensors(pickle: Path) -> dict[str, torch.Tensor]:
    try:
        tensors = torch.load(pickle, map_location="cpu", weights_only=True)
    except Exception as error:  # a hostile pickle may raise anything; refuse it
        raise BadInput(
            f"{pickle} holds more than tensors, or is damaged, and is not loaded: {error}"
        ) from error
    is_flat = isinstance(tensors, dict) and all(isinstance(each, torch.Tensor) for each in tensors.values())
    if not is_flat:
        raise BadInput(
            f"{pickle} does not hold a table of tensors by name (it may be a training checkpoint); save the model's `state_dict()` alone"
        )
    return tensors
