"""mT5's forward pass: an encoder run once per prompt, token trees in the decoder, and rows of different lengths.

The decoder's blocks are called with a custom attention bias, which encodes relative positions (by depth) and which nodes
each node attends to. The choices of a prompt share one row, so its cross-attention keys and values are computed once. The
weights and the blocks are transformers'.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import EncoderDecoderCache

from workbench.engines.transformers import anatomy
from workbench.engines.transformers.kv_cache import KVCache, rounded
from workbench.engines.transformers.padding import padded, real, tree_mask
from workbench.engines.transformers.trees import Row


def states_of_trees(model: Any, rows: Sequence[Row]) -> torch.Tensor:
    """Return the decoder's last hidden state of every node, shape (B, N, D), after encoding every row's source."""
    device = model.device
    encoded, source_bias = _encode(model, [row.source for row in rows])
    ids = padded([row.tokens for row in rows], device)
    depths = padded([row.depths for row in rows], device)
    seen = tree_mask(rows, ids.shape[1], device)
    bias = _positions(model, depths, depths, seen)
    return _run_blocks(model, ids, bias, encoded, source_bias)


class Decoder:
    """Rows that grow token by token, each from its own prompt; a row is active from `begin` to `drop`."""

    def __init__(self, model: Any, slots: int, longest_prompt: int, longest_answer: int) -> None:
        self.model = model
        layers = model.config.num_decoder_layers
        self.self_attention = KVCache(layers, rounded(slots), longest_answer)
        self.cross_attention = KVCache(layers, rounded(slots), longest_prompt)
        self.cache = EncoderDecoderCache(self.self_attention, self.cross_attention)
        self.cache.is_updated = dict.fromkeys(
            range(layers), True
        )  # cross-attention's keys and values are computed in `begin`
        self.lengths: list[int] = []
        self.sources: list[int] = []

    def begin(self, prompts: Sequence[list[int]]) -> list[int]:
        """Encode new prompts, fill the cross-attention cache, and return the first step's input tokens."""
        encoded, _ = _encode(self.model, prompts)
        self.cross_attention.begin_rows(len(self.lengths))
        for number, block in enumerate(anatomy.blocks(self.model, "decoder")):
            attention = block.layer[1].EncDecAttention
            heads = (*encoded.shape[:2], -1, attention.key_value_proj_dim)
            here = encoded.to(attention.k.weight.device)
            keys, values = (part(here).view(heads).transpose(1, 2) for part in (attention.k, attention.v))
            self.cross_attention.update(keys, values, number)
        self.lengths += [0] * len(prompts)
        self.sources += [len(prompt) for prompt in prompts]
        return [self.model.config.decoder_start_token_id] * len(prompts)

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """Append one token to every row and return the logits that follow it, shape (n, V)."""
        count = len(tokens)
        idle = [0] * (rounded(count) - count)
        ids = torch.tensor([*tokens, *idle], device=self.model.device)[:, None]
        lengths = torch.tensor([*self.lengths, *idle], device=ids.device)[:, None]
        keys = torch.arange(max(self.lengths) + 1, device=ids.device).expand(len(ids), -1)
        bias = _positions(self.model, lengths, keys, (keys <= lengths)[:, None])
        source = torch.arange(max(self.sources), device=ids.device)
        real_source = source < torch.tensor([*self.sources, *idle], device=ids.device)[:, None]
        self.self_attention.step(lengths[:, 0])
        self.cross_attention.read_only(len(ids), max(self.sources))
        states = _run_blocks(self.model, ids, bias, ids, _source_bias(self.model, real_source), self.cache)
        self.lengths = [length + 1 for length in self.lengths]
        return self.model.lm_head(states[:, 0])[:count]

    def drop(self, row: int) -> None:
        """Remove a row; the last row moves into its slot."""
        length, source = self.lengths.pop(), self.sources.pop()
        if row < len(self.lengths):
            self.self_attention.move(len(self.lengths), row, length)
            self.cross_attention.move(len(self.lengths), row, source)
            self.lengths[row], self.sources[row] = length, source


def _encode(model: Any, sources: Sequence[Sequence[int] | np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the encoder's states (B, S, D) and the bias that masks the padding, (B, H, 1, S)."""
    ids, mask = padded(sources, model.device), real(sources, model.device)
    encoded = model.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state
    return encoded, _source_bias(model, mask.bool())


def _source_bias(model: Any, mask: torch.Tensor) -> torch.Tensor:
    zero = torch.zeros((), dtype=model.dtype, device=mask.device)
    bias = torch.where(mask[:, None, None], zero, torch.finfo(model.dtype).min)
    return bias.expand(-1, model.config.num_heads, -1, -1)


def _positions(model: Any, queries: torch.Tensor, keys: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """Return the bias on attention scores, (B, H, Q, K), from depths (B, Q) and (B, K) and the visibility mask (B, Q, K)."""
    attention = anatomy.blocks(model, "decoder")[0].layer[0].SelfAttention
    buckets = attention._relative_position_bucket(
        keys[:, None] - queries[:, :, None],
        bidirectional=False,
        num_buckets=attention.relative_attention_num_buckets,
        max_distance=attention.relative_attention_max_distance,
    )
    table = attention.relative_attention_bias
    bias = table(buckets.to(table.weight.device)).permute(0, 3, 1, 2)
    return torch.where(seen[:, None].to(bias.device), bias, torch.finfo(model.dtype).min)


def _run_blocks(
    model: Any,
    ids: torch.Tensor,
    bias: torch.Tensor,
    encoded: torch.Tensor,
    source_bias: torch.Tensor,
    cache: EncoderDecoderCache | None = None,
) -> torch.Tensor:
    states = anatomy.embedding(model, "decoder")(ids)
    nothing = bias.new_zeros(
        1, 1, 1, 1
    )  # the biases contain the mask; without any mask sdpa would add a causal one
    for block in anatomy.blocks(model, "decoder"):
        states = block(
            states,
            attention_mask=nothing,
            position_bias=bias,
            encoder_hidden_states=encoded,
            encoder_attention_mask=nothing,
            encoder_decoder_position_bias=source_bias,
            past_key_values=cache,
        )[0]
    return anatomy.final_norm(model, "decoder")(states)
