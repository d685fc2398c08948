"""The parts of a model under common names: the blocks of a stack, its final norm, the unembedding.

A stack is "decoder" or, for mT5, "encoder". An architecture with the same parts needs only new rows in the table.
"""

from typing import Any

import torch

from workbench.models.requests import Stack

_PARTS: dict[
    tuple[str, Stack], tuple[str, str, str]
] = {  # (architecture, stack): paths of the embedding, the blocks and the final norm
    ("bloom", "decoder"): ("transformer.word_embeddings", "transformer.h", "transformer.ln_f"),
    ("mt5", "encoder"): ("encoder.embed_tokens", "encoder.block", "encoder.final_layer_norm"),
    ("mt5", "decoder"): ("decoder.embed_tokens", "decoder.block", "decoder.final_layer_norm"),
}


def supports(model: Any) -> bool:
    """Whether the parts of this architecture are known."""
    return any(model.config.model_type == architecture for architecture, _ in _PARTS)


def embedding(model: Any, stack: Stack) -> Any:
    """Return the module that turns token ids (B, T) into states (B, T, D)."""
    return model.get_submodule(_PARTS[model.config.model_type, stack][0])


def blocks(model: Any, stack: Stack) -> Any:
    """Return the blocks of a stack, a ModuleList, first to last."""
    return model.get_submodule(_PARTS[model.config.model_type, stack][1])


def final_norm(model: Any, stack: Stack) -> Any:
    """Return the norm after a stack's last block."""
    return model.get_submodule(_PARTS[model.config.model_type, stack][2])


def depths(model: Any) -> dict[Stack, int]:
    """Return the number of blocks of each stack that the model has."""
    kind = model.config.model_type
    return {stack: len(blocks(model, stack)) for architecture, stack in _PARTS if architecture == kind}


def width(model: Any) -> int:
    """Return D, the width of the states."""
    return int(unembedding(model).shape[1])


def after_neurons(block: Any) -> Any:
    """Return the matrix that reads the neurons of a block's MLP; its input (B, T, n) are their activations."""
    return block.mlp.dense_4h_to_h if hasattr(block, "mlp") else block.layer[-1].DenseReluDense.wo


def before_neurons(block: Any) -> Any:
    """Return the matrix before the GELU of a block's MLP; a neuron is active where its output (B, T, n) is above 0."""
    if hasattr(block, "mlp"):
        return block.mlp.dense_h_to_4h
    dense = block.layer[-1].DenseReluDense
    return dense.wi_0 if hasattr(dense, "wi_0") else dense.wi


def cross_attention(block: Any) -> Any:
    """Return the attention of a decoder's block to the encoder; its output (B, T, D) is added to the states."""
    return block.layer[1].EncDecAttention


def unembedding(model: Any) -> torch.Tensor:
    """Return the matrix (V, D) that turns normed states into logits; tied to the embedding in BLOOM, a head of its own in mT5."""
    return model.get_output_embeddings().weight
