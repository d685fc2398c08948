"""Writing of a checkpoint as a GGUF file, tensor by tensor; other types than F32, F16 and BF16 are made by llama.cpp.

The biases, norms and position biases stay in float32.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from safetensors import safe_open

from workbench.engines.gguf.llama import library, reason
from workbench.engines.gguf.tensors import in_llama_order, name_in_gguf
from workbench.engines.gguf.vocabulary import Vocabulary
from workbench.errors import BadInput
from workbench.gguf_header import FILE_TYPES
from workbench.models.folders import settings, weight_files

WRITTEN = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_NUMBERS = {name: number for number, name in FILE_TYPES.items()}
_KINDS = {"F32": 0, "F16": 1, "BF16": 30}
_ALWAYS_F32 = "attn_rel_b"
_OURS = "workbench.checkpoint"


def write(folder: Path, file: Path, kind: str, vocabulary: Vocabulary, statements: Mapping[str, str]) -> None:
    """Write the checkpoint in a folder.

    Args:
        kind: "F32", "F16" or "BF16".
        statements: Fields that say what the file is, `general.…` by name.

    Raises:
        BadInput: a tensor that the architecture does not have in llama.cpp.
    """
    config = settings(folder / "config.json")
    writer = gguf.GGUFWriter(file, "bloom" if config["model_type"] == "bloom" else "t5")
    for name, text in statements.items():
        writer.add_string(name, text)
    writer.add_file_type(_NUMBERS[kind])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    _add_sizes(writer, config)
    add_vocabulary(writer, vocabulary)
    placed = dict(_places(folder, config["model_type"]))
    for name, (path, source) in placed.items():
        shape, written = _form(path, source, name, kind)
        width = np.dtype(np.float32 if written == "F32" else np.uint16)
        count = int(np.prod(shape))
        writer.add_tensor_info(
            name, shape, width, count * width.itemsize, raw_dtype=gguf.GGMLQuantizationType(_KINDS[written])
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    heads = int(config.get("n_head") or config.get("num_attention_heads") or config["num_heads"])
    for name, (path, source) in placed.items():
        writer.write_tensor_data(_values(path, source, name, kind, heads))
    writer.close()


def write_vocabulary(file: Path, architecture: str, vocabulary: Vocabulary) -> None:
    """Write a file without weights, in which llama.cpp finds a tokenizer."""
    writer = gguf.GGUFWriter(file, architecture)
    add_vocabulary(writer, vocabulary)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()


def quantize(source: Path, file: Path, kind: str, threads: int) -> None:
    """Make a file of another type with llama.cpp.

    Raises:
        BadInput: llama.cpp cannot.
    """
    llama = library()
    options = llama.llama_model_quantize_default_params()
    options.ftype, options.nthread = _NUMBERS[kind], threads
    if llama.llama_model_quantize(str(source).encode(), str(file).encode(), options):
        raise BadInput(f"llama.cpp cannot make {kind} of it ({reason()}); choose another type")


def add_vocabulary(writer: Any, vocabulary: Vocabulary) -> None:
    """Add the fields `tokenizer.ggml.…`."""
    writer.add_tokenizer_model(vocabulary.model)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    for name, value in vocabulary.fields.items():
        key = f"tokenizer.ggml.{name}"
        if isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, str):
            writer.add_string(key, value)
        elif name == "precompiled_charsmap":
            writer.add_precompiled_charsmap(bytes(value))
        elif value:
            writer.add_array(key, value)


def _add_sizes(writer: Any, config: Mapping[str, Any]) -> None:
    """Add the sizes and constants that llama.cpp computes with."""
    if config["model_type"] == "bloom":
        width, heads = (
            config.get("hidden_size") or config["n_embed"],
            config.get("n_head") or config["num_attention_heads"],
        )
        writer.add_context_length(config.get("seq_length", 2048))
        writer.add_feed_forward_length(4 * width)
        writer.add_block_count(config.get("n_layer") or config["num_hidden_layers"])
        writer.add_head_count_kv(heads)
        writer.add_layer_norm_eps(config.get("layer_norm_epsilon", 1e-5))
    else:
        width, heads = config["d_model"], config["num_heads"]
        writer.add_context_length(config.get("n_positions", 512))
        writer.add_feed_forward_length(config["d_ff"])
        writer.add_block_count(config["num_layers"])
        writer.add_decoder_block_count(config.get("num_decoder_layers") or config["num_layers"])
        writer.add_key_length(config["d_kv"])
        writer.add_value_length(config["d_kv"])
        writer.add_layer_norm_eps(config["layer_norm_epsilon"])  # llama.cpp's loader asks for both
        writer.add_layer_norm_rms_eps(config["layer_norm_epsilon"])
        writer.add_relative_attn_buckets_count(config["relative_attention_num_buckets"])
        writer.add_decoder_start_token_id(config["decoder_start_token_id"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_embedding_length(width)
    writer.add_head_count(heads)


def _places(folder: Path, architecture: str) -> Iterator[tuple[str, tuple[Path, str]]]:
    """Yield llama.cpp's names with (file, name in it)."""
    for path in weight_files(folder):
        if path.suffix != ".safetensors":
            continue
        with safe_open(path, framework="pt") as file:
            for source in file.keys():  # noqa: SIM118  not a dict
                try:
                    name = name_in_gguf(architecture, source)
                except KeyError:
                    raise BadInput(f"llama.cpp's {architecture} has no tensor {source!r}") from None
                if name is not None:
                    yield name, (path, source)


def _form(path: Path, source: str, name: str, kind: str) -> tuple[tuple[int, ...], str]:
    """Return a tensor's shape and the type in which it is written."""
    with safe_open(path, framework="pt") as file:
        shape = tuple(file.get_slice(source).get_shape())
    return shape, "F32" if len(shape) == 1 or _ALWAYS_F32 in name else kind


def _values(path: Path, source: str, name: str, kind: str, heads: int) -> np.ndarray:
    """Return a tensor's values as they are written; bfloat16 as its bits."""
    with safe_open(path, framework="pt") as file:
        tensor = file.get_tensor(source)
    is_plain = tensor.dim() == 1 or _ALWAYS_F32 in name
    tensor = tensor.to(WRITTEN["F32" if is_plain else kind])
    array = (tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor).numpy()
    return in_llama_order(name, array, heads)
