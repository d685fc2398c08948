"""The memory that a model takes, forecast before its weights are read, and what is free for it.

The forecast counts the weights (from the headers of their files), the libraries, and the work of one batch (from the sizes in
config.json).
"""

import gc
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from workbench.errors import BadInput
from workbench.family import BYTES_PER_PARAMETER, BYTES_PER_QUANTIZED, checkpoints, memory_needed
from workbench.gguf_header import Header, read_header
from workbench.models.folders import settings
from workbench.models.free_memory import free_memory
from workbench.models.identity import Identity

_KEPT = {
    "lm_head",
    "relative_attention_bias",
    "shared",
    "wo",
    "word_embeddings",
    "wpe",
    "wte",
}  # not quantized
TOKENS = 1024  # of a batch where none is named, padding included
OFFLOAD = "offload"  # the device under which the rest of a model that does not fit lies on the disk
_LIBRARIES = 400_000_000  # bytes, measured
_ELSEWHERE = "with device='offload' the rest of it is read from the disk for every batch, which is slow"
_LEAST_TOKENS = 64
_ROWS_OF_LOGITS = 256  # that lie in llama.cpp's buffers, in a batch of scores
_LENGTH = 128  # tokens of a text in a batch, where it is not known
_COPIES = 6  # of a token's state, at most, that lie in memory together
_INNER = 3  # and of its feed-forward's inner layer
_SCORES = 3  # and of its attention scores


@dataclass(frozen=True)
class Forecast:
    """Bytes of a model in memory: its weights, one batch of `tokens`, and libraries beside them."""

    weights: int
    batch: int
    tokens: int
    libraries: int = _LIBRARIES

    @property
    def total(self) -> int:
        """The sum."""
        return self.weights + self.batch + self.libraries


def forecast(
    identity: Identity, dtype: str, tokens: int = TOKENS, *, quantization: str | None = None
) -> Forecast:
    """Forecast the memory of a model whose files are here."""
    if identity.file is not None:
        return forecast_of_file(read_header(identity.file), tokens)
    weights = bytes_of_weights(identity, dtype, quantization)
    return Forecast(weights, tokens * _bytes_per_token(_config(identity), tokens), tokens)


def forecast_of_file(header: Header, tokens: int = TOKENS) -> Forecast:
    """Forecast the memory of a GGUF file in llama.cpp: its weights, keys and values in float32, and rows of logits."""
    fields, width = header.fields, f"{header.architecture}.embedding_length"
    blocks = fields.get("t5.decoder_block_count", fields.get(f"{header.architecture}.block_count", 0))
    heads, per_head = (fields.get(f"t5.attention.{name}", 0) for name in ("head_count", "key_length"))
    cache = 2 * 4 * blocks * (heads * per_head or fields.get(width, 0)) * tokens
    embedding = header.tensors.get("token_embd.weight")
    logits = 4 * _ROWS_OF_LOGITS * (embedding.shape[0] if embedding else 0)
    return Forecast(header.bytes_of_weights, cache + logits, tokens)


def bytes_of_weights(identity: Identity, dtype: str, quantization: str | None = None) -> int:
    """Return the bytes of the weights in a dtype or, with a quantization, of the matrices that it covers and the others."""
    return sum(_bytes_in(Path(path), dtype, quantization) for path, _ in identity.states)


def _bytes_in(path: Path, dtype: str, quantization: str | None) -> int:
    found = 0.0
    for name, shape in _shapes(path).items():
        is_packed = quantization in BYTES_PER_QUANTIZED and is_quantizable(name, shape)
        width = BYTES_PER_QUANTIZED[str(quantization)] if is_packed else BYTES_PER_PARAMETER[dtype]
        found += width * prod(shape)
    return round(found)


def _shapes(path: Path) -> dict[str, list[int]]:
    """Return the shapes of a file's tensors from its header; none if it is damaged, which loading reports."""
    if path.suffix != ".safetensors":
        return {}
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        return {name: tensor["shape"] for name, tensor in header.items() if name != "__metadata__"}
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, MemoryError):
        return {}


def is_quantizable(name: str, shape: Sequence[int]) -> bool:
    """Whether a tensor is a matrix that transformers has bitsandbytes quantize: in a block, and not kept by the architecture."""
    return len(shape) == 2 and not any(part in _KEPT or "embed" in part for part in name.split("."))


def _config(identity: Identity) -> Mapping[str, Any]:
    return settings(identity.folder / "config.json") if identity.folder is not None else {}


def _bytes_per_token(config: Mapping[str, Any], tokens: int) -> int:
    """Return the bytes that a token takes on its way through a block, in float32 (half precision may be computed in it, too).

    It is 0 if config.json does not say the sizes.
    """
    size = next((config[name] for name in ("hidden_size", "n_embed", "d_model") if name in config), 0)
    inner = config.get("d_ff") or config.get("intermediate_size") or 4 * size
    heads = next(
        (config[name] for name in ("n_head", "num_attention_heads", "num_heads") if name in config), 0
    )
    return 4 * (_COPIES * size + _INNER * inner + _SCORES * heads * min(tokens, _LENGTH))


def expect_room(
    identity: Identity, dtype: str, device: str, *, is_drawn: bool = False, quantization: str | None = None
) -> None:
    """Check that a model and a batch fit into what is free; under "offload", that weights do which cannot lie on the disk.

    Args:
        is_drawn: Its weights are random: they are drawn on the CPU, for one device.

    Raises:
        BadInput: they do not fit; the message says which precision, checkpoint or batch would.
    """
    quantized = None if is_drawn else quantization
    if device == OFFLOAD and quantized is None and not is_drawn:
        return
    needed = forecast(identity, dtype, quantization=quantized)
    if needed.total > _free(device, is_drawn):
        gc.collect()  # a model that was let go may still lie in memory
        if needed.total > (free := _free(device, is_drawn)):
            if identity.file is not None:
                raise BadInput(_refusal_of_file(identity, needed, free))
            said = _refusal(identity, dtype, needed, free, quantized)
            raise BadInput(said if is_drawn or quantized else f"{said}; {_ELSEWHERE}")


def expect_batch(identity: Identity, device: str, tokens: int) -> None:
    """Check that a batch of a loaded model fits into what is free; in a control group it would end the process.

    Raises:
        BadInput: it does not fit; the message says how many tokens would.
    """
    needed, free = forecast(identity, "float32", tokens), free_memory(device)
    if needed.batch > free:
        raise BadInput(
            f"a batch of {tokens:,} tokens takes some {needed.batch / 1e9:.1f} GB with {identity.name}, and "
            f"{free / 1e9:.1f} GB are free; give at most batch_tokens={_that_fit(needed, free)}"
        )


def _free(device: str, is_drawn: bool) -> int:
    device = "auto" if device == OFFLOAD else device
    if not is_drawn:
        return free_memory(device, offload=True)
    return min(free_memory("cuda" if device == "auto" else device), free_memory("cpu"))


def _that_fit(needed: Forecast, free: int) -> int:
    """Return the tokens of a batch that fit into free bytes."""
    return max(0, free) * needed.tokens // max(1, needed.batch) // _LEAST_TOKENS * _LEAST_TOKENS


def _refusal(
    identity: Identity, dtype: str, needed: Forecast, free: int, quantization: str | None = None
) -> str:
    fits = list(_what_fits(identity, dtype, needed, free, quantization))
    beside = needed.batch + needed.libraries
    return (
        f"{identity.name} in {f'{quantization} ' if quantization else ''}{dtype} needs {needed.weights / 1e9:.1f} GB for its weights and {beside / 1e9:.1f} GB beside them (a "
        f"batch of {needed.tokens:,} tokens, libraries), and {free / 1e9:.1f} GB are free; "
        + (f"what fits: {', or '.join(fits)}" if fits else "let other processes end, or use a larger machine")
    )


def _refusal_of_file(identity: Identity, needed: Forecast, free: int) -> str:
    return (
        f"{identity.name} needs {needed.total / 1e9:.1f} GB ({needed.weights / 1e9:.1f} GB of weights in {identity.file_type}), and "
        f"{free / 1e9:.1f} GB are free; take a file of fewer bits, let other processes end, or use a larger machine"
    )


def _what_fits(
    identity: Identity, dtype: str, needed: Forecast, free: int, quantization: str | None = None
) -> Iterator[str]:
    """Yield a smaller batch, the best lower precision, and the largest smaller checkpoint of the same row, as far as they fit."""
    if tokens := _that_fit(needed, free - needed.weights - needed.libraries):
        yield f"batches of batch_tokens={tokens}"
    half = dtype if dtype != "float32" else "bfloat16"
    forms = {
        f"{identity.name} in {half}{f' with quantization={less!r}' if less else ''}": forecast(
            identity, half, quantization=less
        )
        for less in (None, *BYTES_PER_QUANTIZED)
    }
    smaller_forms = (
        said for said, form in forms.items() if form.weights < needed.weights and form.total <= free
    )
    yield from itertools.islice(smaller_forms, 1)
    here = next((one for one in checkpoints() if one.name == identity.name), None)
    if here is not None:
        row = [
            one
            for one in checkpoints()
            if (one.architecture, one.mixture) == (here.architecture, here.mixture)
        ]
        beside = needed.batch + needed.libraries
        smaller = [
            one
            for one in row
            if one.parameters < here.parameters and memory_needed(one, half) + beside <= free
        ]
        largest = sorted(smaller, key=lambda one: one.parameters)[-1:]
        yield from (f"{one.name} in {half}" for one in largest)
