"""The one door to the weights: a folder becomes a transformers model and its tokenizer, on a device."""

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer
from transformers.activations import NewGELUActivation
from transformers.models.bloom.modeling_bloom import BloomMLP
from transformers.models.mt5.modeling_mt5 import MT5DenseGatedActDense

from workbench.errors import BadInput
from workbench.models.identity import Identity


def read_weights(identity: Identity, dtype: str, device: str, random_seed: int | None) -> tuple[Any, Any]:
    """Read model and tokenizer from the identity's folder: safetensors only, no code from others, no network.

    Args:
        random_seed: draw random weights for the same configuration instead of reading any.
    """
    folder = str(identity.folder)
    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        kind = AutoModelForSeq2SeqLM if identity.is_encoder_decoder else AutoModelForCausalLM
        if random_seed is None:
            options = {"use_safetensors": True, "local_files_only": True, **_placement(device)}
            model = kind.from_pretrained(folder, dtype=getattr(torch, dtype), **options)
        else:
            config = AutoConfig.from_pretrained(folder, local_files_only=True)
            with torch.random.fork_rng():
                torch.manual_seed(random_seed)
                model = kind.from_config(config, dtype=getattr(torch, dtype)).to(_single_device(device))
    return _fused(model.eval()), tokenizer


def stays_in_place(model: Any) -> bool:
    """Whether all weights stay on their devices; accelerate brings offloaded ones only for transformers' own forward."""
    places = {str(place) for place in getattr(model, "hf_device_map", {}).values()}
    return "disk" not in places and not ("cpu" in places and len(places) > 1)


def _fused(model: Any) -> Any:
    """Compute the family's activation in one kernel instead of eight; the same function (tanh's form of GELU)."""
    for module in model.modules():
        if isinstance(module, BloomMLP):
            module.gelu_impl = torch.nn.GELU(approximate="tanh")  # type: ignore[assignment]
        elif isinstance(module, MT5DenseGatedActDense) and isinstance(module.act, NewGELUActivation):
            module.act = torch.nn.GELU(approximate="tanh")
    return model


def _placement(device: str) -> dict[str, object]:
    """Where `from_pretrained` puts the weights: accelerate spreads them over all GPUs under "auto"."""
    if device == "auto":
        return {"device_map": "auto"} if torch.cuda.is_available() else {}
    return {} if device == "cpu" else {"device_map": {"": _single_device(device)}}


def _single_device(device: str) -> str:
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise BadInput(f"device={device!r}, but torch sees no GPU here; use device='cpu' or 'auto'")
    return device


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence loading bars and notices (mT5's untied head, generation flags) without touching the user's settings."""
    level = transformers.logging.get_verbosity()
    bars = transformers.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity(logging.ERROR)
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(level)
        if bars:
            transformers.logging.enable_progress_bar()
