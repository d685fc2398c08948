"""The parts of a model under common names: the blocks of a stack, its final norm, the unembedding.

A stack is "decoder" or, for mT5, "encoder". An architecture with the same parts needs only new rows in the table.
"""

from typing import Any

import torch

from workbench.models.requests import Stack

_PARTS = {  # (architecture, stack): paths of the embedding, the blocks and the final norm
    ("bloom", "decoder"): ("transformer.word_embeddings", "transformer.h", "transformer.ln_f"),
    ("mt5", "encoder"): ("encoder.embed_tokens", "encoder.block", "encoder.final_layer_norm"),
    ("mt5", "decoder"): ("decoder.embed_tokens", "decoder.block", "decoder.final_layer_norm"),
}


def embedding(model: Any, stack: Stack) -> Any:
    """Return the module that turns token ids (B, T) into states (B, T, D)."""
    return model.get_submodule(_PARTS[model.config.model_type, stack][0])


def blocks(model: Any, stack: Stack) -> Any:
    """Return the blocks of a stack, a ModuleList, first to last."""
    return model.get_submodule(_PARTS[model.config.model_type, stack][1])


def final_norm(model: Any, stack: Stack) -> Any:
    """Return the norm after a stack's last block."""
    return model.get_submodule(_PARTS[model.config.model_type, stack][2])


def unembedding(model: Any) -> torch.Tensor:
    """Return the matrix (V, D) that turns normed states into logits; tied to the embedding in BLOOM, a head of its own in mT5."""
    return model.get_output_embeddings().weight
