"""Weights that bitsandbytes quantizes when they are read: most matrices of the blocks; embeddings, head and norms keep the dtype.

8 bit is LLM.int8 without outliers (threshold 0): with outliers, the batch decides which columns of an activation are multiplied in
half precision, and BLOOM's scores change by up to 0.21 nats. 4 bit is NF4 in blocks of 64 weights, multiplied in the dtype of the others.
"""

import contextlib
import ctypes
import logging
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import torch
from transformers import BitsAndBytesConfig

from workbench.errors import BadInput


def settings(quantization: str, dtype: torch.dtype) -> BitsAndBytesConfig:
    """Return the settings for `from_pretrained`; `engines.transformers.SPEC` has them in the key of answers.

    Raises:
        BadInput: bitsandbytes is not installed.
    """
    if find_spec("bitsandbytes") is None:
        raise BadInput(
            f"quantization={quantization!r} needs bitsandbytes; install the extra: pip install 'workbench[quantized]'"
        )
    if quantization == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=0.0)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)


def is_quantized(model: Any) -> bool:
    """Whether a model has quantized weights."""
    return bool(getattr(model, "is_quantized", False))


def scales(model: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the scales of quantized weights by name: they are not parameters, and a weight is its integers times its scale."""
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        states = (getattr(module, "state", None), weight, getattr(weight, "quant_state", None))
        for scale in (getattr(state, field, None) for state in states for field in ("SCB", "absmax")):
            if isinstance(scale, torch.Tensor):
                yield f"{name}.scale", scale


@torch.inference_mode()
def settle(model: Any) -> None:
    """Run the model once, since bitsandbytes rearranges weights at the first call, and silence the notice it logs on every later call."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    ids = torch.zeros(1, 1, dtype=torch.long, device=model.device)
    model(input_ids=ids, **({"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}))
    with contextlib.suppress(
        AttributeError
    ):  # glibc keeps the memory of the float weights, several times that of the model
        ctypes.CDLL(None).malloc_trim(0)
