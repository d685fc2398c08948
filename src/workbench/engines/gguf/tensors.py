"""Names and layouts of tensors: those of a checkpoint in transformers' format, and those that llama.cpp knows.

BLOOM's query, key and value are interleaved by head in transformers (head, kind, row) and lie one after the other in llama.cpp
(kind, head, row).
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

_BLOOM = {
    "word_embeddings": "token_embd", "word_embeddings_layernorm": "token_embd_norm", "ln_f": "output_norm", "lm_head": "output",
}  # fmt: skip
_BLOOM_BLOCK = {
    "input_layernorm": "attn_norm", "self_attention.query_key_value": "attn_qkv", "self_attention.dense": "attn_output",
    "post_attention_layernorm": "ffn_norm", "mlp.dense_h_to_4h": "ffn_up", "mlp.dense_4h_to_h": "ffn_down",
}  # fmt: skip
_MT5 = {
    "shared": "token_embd", "lm_head": "output", "encoder.final_layer_norm": "enc.output_norm",
    "decoder.final_layer_norm": "dec.output_norm",
}  # fmt: skip
_ATTENTION = {"q": "q", "k": "k", "v": "v", "o": "o", "relative_attention_bias": "rel_b"}
_FEED_FORWARD = {"wi_0": "ffn_gate", "wi_1": "ffn_up", "wo": "ffn_down"}
_IN_A_BLOCK = re.compile(r"(?:transformer\.)?h\.(\d+)\.(.+)\.(weight|bias)")
_IN_A_LAYER = re.compile(r"(encoder|decoder)\.block\.(\d+)\.layer\.(\d)\.(?:(\w+)\.)?(\w+)\.weight")


def name_in_gguf(architecture: str, name: str) -> str | None:
    """Return llama.cpp's name of a checkpoint's tensor; None for a copy of another (an embedding that is tied).

    Raises:
        KeyError: the architecture has no tensor of that name.
    """
    return _of_bloom(name) if architecture == "bloom" else _of_mt5(name)


def _of_bloom(name: str) -> str | None:
    if found := _IN_A_BLOCK.fullmatch(name):
        number, part, kind = found.groups()
        return f"blk.{number}.{_BLOOM_BLOCK[part]}.{kind}"
    part, _, kind = name.removeprefix("transformer.").rpartition(".")
    return f"{_BLOOM[part]}.{kind}"


def _of_mt5(name: str) -> str | None:
    if name in ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight"):
        return None
    found = _IN_A_LAYER.fullmatch(name)
    if not found:
        return f"{_MT5[name.removesuffix('.weight')]}.weight"
    stack, block, layer, owner, part = found.groups()
    is_last = layer == ("1" if stack == "encoder" else "2")
    attention = "cross_attn" if (stack, layer) == ("decoder", "1") else "attn"
    if part == "layer_norm":
        called = "ffn_norm" if is_last else f"{attention}_norm"
    elif owner == "DenseReluDense":
        called = _FEED_FORWARD[part]
    else:
        called = f"{attention}_{_ATTENTION[part]}"
    return f"{stack[:3]}.blk.{block}.{called}.weight"


def in_llama_order(name: str, values: np.ndarray, heads: int) -> np.ndarray:
    """Return a tensor's values in the order that llama.cpp reads; changes BLOOM's query_key_value only.

    Args:
        name: In llama.cpp.
        values: Shape (H·3·R, D) or (H·3·R,).
    """
    if ".attn_qkv." not in name:
        return values
    apart = values.reshape(heads, 3, values.shape[0] // (3 * heads), *values.shape[1:])
    return np.ascontiguousarray(apart.swapaxes(0, 1)).reshape(values.shape)


def expected_shapes(
    architecture: str, fields: Mapping[str, Any], vocabulary: int
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors that a file of these fields must hold; the head and an mT5's gate may be missing.

    Raises:
        KeyError, TypeError: a field is missing or is no number.
    """
    return (_shapes_of_bloom if architecture == "bloom" else _shapes_of_t5)(fields, vocabulary)


def _shapes_of_bloom(fields: Mapping[str, Any], vocabulary: int) -> dict[str, tuple[int, ...]]:
    width, inner, blocks = (
        int(fields[f"bloom.{name}"]) for name in ("embedding_length", "feed_forward_length", "block_count")
    )
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (vocabulary, width)}
    rows = {
        "attn_qkv": (3 * width, width),
        "attn_output": (width, width),
        "ffn_up": (inner, width),
        "ffn_down": (width, inner),
    }
    for name in ("token_embd_norm", "output_norm"):
        shapes |= {f"{name}.weight": (width,), f"{name}.bias": (width,)}
    for block in range(blocks):
        for name in ("attn_norm", "ffn_norm"):
            shapes |= {f"blk.{block}.{name}.{kind}": (width,) for kind in ("weight", "bias")}
        for name, shape in rows.items():
            shapes |= {f"blk.{block}.{name}.weight": shape, f"blk.{block}.{name}.bias": shape[:1]}
    return shapes


def _shapes_of_t5(fields: Mapping[str, Any], vocabulary: int) -> dict[str, tuple[int, ...]]:
    width, inner, heads, per_head = (
        int(fields[f"t5.{name}"])
        for name in (
            "embedding_length",
            "feed_forward_length",
            "attention.head_count",
            "attention.key_length",
        )
    )
    blocks = int(fields["t5.block_count"])
    stacks = {"enc": blocks, "dec": int(fields.get("t5.decoder_block_count", blocks))}
    buckets, all_heads = int(fields["t5.attention.relative_buckets_count"]), heads * per_head
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (vocabulary, width)}
    for stack, count in stacks.items():
        shapes[f"{stack}.output_norm.weight"] = (width,)
        shapes[f"{stack}.blk.0.attn_rel_b.weight"] = (buckets, heads)
        for block in range(count):
            at = f"{stack}.blk.{block}"
            for attention in ("attn", "cross_attn") if stack == "dec" else ("attn",):
                shapes[f"{at}.{attention}_norm.weight"] = (width,)
                shapes |= {f"{at}.{attention}_{part}.weight": (all_heads, width) for part in "qkv"}
                shapes[f"{at}.{attention}_o.weight"] = (width, all_heads)
            shapes |= {f"{at}.ffn_norm.weight": (width,), f"{at}.ffn_up.weight": (inner, width)}
            shapes |= {f"{at}.ffn_gate.weight": (inner, width), f"{at}.ffn_down.weight": (width, inner)}
    return shapes
