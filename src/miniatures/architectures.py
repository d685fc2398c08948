"""The two architectures of the miniature family at small sizes: new models, and saved ones loaded in float32."""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    BloomConfig,
    BloomForCausalLM,
    MT5Config,
    MT5ForConditionalGeneration,
)


def new_model(architecture: str, vocabulary: int) -> Any:
    """Return a new model: BLOOM with its tied head, or mT5 with a separate head, initialised small (first loss ≈ ln V)."""
    if architecture == "bloom":
        return BloomForCausalLM(
            BloomConfig(
                vocab_size=vocabulary,
                hidden_size=192,
                n_layer=3,
                n_head=6,
                hidden_dropout=0.0,
                attention_dropout=0.0,
                bos_token_id=1,
                eos_token_id=2,
                pad_token_id=3,
            )
        )
    config = MT5Config(
        vocab_size=vocabulary,
        d_model=128,
        d_kv=32,
        d_ff=256,
        num_layers=3,
        num_decoder_layers=3,
        num_heads=4,
        dropout_rate=0.0,
        pad_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=0,
    )
    return untie(MT5ForConditionalGeneration(config))


def untie(model: Any, spread: float = 0.02) -> Any:
    """Give an mT5 a separate output head, as in the published checkpoints (its config class forces tying)."""
    model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.shared.weight) * spread)
    model.config.tie_word_embeddings = False
    return model


def load_float32(folder: Path) -> Any:
    """Load a saved member in float32 (mT5-side weights must not compute in float16)."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    kind = AutoModelForSeq2SeqLM if config.get("is_encoder_decoder") else AutoModelForCausalLM
    return kind.from_pretrained(folder, dtype=torch.float32)
