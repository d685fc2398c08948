"""Where the weights of a model go: to the GPUs, to the processor's memory or, if neither holds them, in part to the disk."""

import warnings
from typing import Any

import torch

from workbench.errors import BadInput
from workbench.models.free_memory import free_memory
from workbench.models.identity import Identity
from workbench.models.memory import OFFLOAD, bytes_of_weights

_SPREAD = ("auto", OFFLOAD)
_SHARE = 0.9  # of the free memory that weights may take


def placement(device: str, identity: Identity, dtype: str, quantization: str | None) -> dict[str, Any]:
    """Return the placement for `from_pretrained`.

    Under "auto" and "offload", accelerate spreads the weights over all GPUs, then the processor's memory, then the disk; under
    "auto" the forecast has refused what would reach the disk (`workbench.models.memory`). Without a GPU, accelerate is asked only
    under "offload", if the weights do not fit into memory.

    Raises:
        BadInput: the device is not there.
    """
    single = single_device(device)
    if single != "cpu":
        return {"device_map": "auto" if device in _SPREAD else {"": single}}
    if quantization is not None:
        return {"device_map": {"": "cpu"}}  # without it, transformers puts quantized weights on a GPU
    room = int(_SHARE * free_memory("cpu"))
    if device != OFFLOAD or bytes_of_weights(identity, dtype) <= room:
        return {}
    return {"device_map": "auto", "max_memory": {"cpu": room}}


def single_device(device: str) -> str:
    """Return the device that holds a model as a whole.

    Raises:
        BadInput: it is not there.
    """
    if device in _SPREAD:
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda"):
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(device.partition(":")[2] or 0) >= count:
            seen = f"{count} GPU(s), cuda:0 to cuda:{count - 1}" if count else "no GPU"
            raise BadInput(f"device={device!r}, but torch sees {seen} here; use device='cpu' or 'auto'")
    if device == "mps" and not torch.backends.mps.is_available():
        raise BadInput("device='mps', but torch sees no Apple GPU here; use device='cpu' or 'auto'")
    return device


def places(model: Any) -> set[str]:
    """Return the places of a model's parts as accelerate names them: "0" for a GPU, "cpu", "disk"; empty if it placed none."""
    return {str(place) for place in getattr(model, "hf_device_map", {}).values()}


def stays_in_place(model: Any) -> bool:
    """Whether all weights stay on their devices; accelerate loads offloaded ones only for transformers' own forward."""
    found = places(model)
    return "disk" not in found and not ("cpu" in found and len(found) > 1)


def check_placement(model: Any, identity: Identity) -> None:
    """Warn about a model that is offloaded in part.

    Raises:
        BadInput: it is on the disk as a whole, where transformers cannot compute with it.
    """
    smaller = (
        "bfloat16, or quantization='8bit' or '4bit', needs less memory (`workbench models` says how much)"
    )
    if model.device.type == "meta":
        raise BadInput(
            f"{identity.name} does not fit into memory and would be offloaded to disk entirely; {smaller}"
        )
    if not stays_in_place(model):
        parts = list(model.hf_device_map.values())
        away = [part for part in parts if part == "disk" or (part == "cpu" and model.device.type != "cpu")]
        where = " and ".join(sorted({"the disk" if part == "disk" else "the CPU" for part in away}))
        warnings.warn(
            f"{identity.name} does not fit: {len(away)} of its {len(parts)} parts are on {where} and are copied for every "
            f"batch and every generated token, which is slow; {smaller}",
            stacklevel=2,
        )
