"""BLOOM's forward pass over token trees and over rows of different lengths.

transformers' forward takes a 2-D mask and derives ALiBi positions from it; here its blocks are called with a custom
attention bias, which encodes positions (a node's depth) and which nodes each node attends to. The weights and the blocks are
transformers'.
"""

from collections.abc import Sequence
from typing import Any

import torch

from workbench.engines.transformers import anatomy
from workbench.engines.transformers.kv_cache import KVCache, rounded
from workbench.engines.transformers.padding import padded, tree_mask
from workbench.engines.transformers.precision import better_wide, call
from workbench.engines.transformers.trees import Row


def states_of_trees(model: Any, rows: Sequence[Row]) -> torch.Tensor:
    """Return the last hidden state of every node, shape (B, N, D)."""
    device = model.device
    ids = padded([row.tokens for row in rows], device)
    depths = padded([row.depths for row in rows], device)
    seen = tree_mask(rows, ids.shape[1], device)
    return _run_blocks(model, ids, _alibi(model, depths, seen), wide=better_wide(model))


class Decoder:
    """Rows that grow token by token, each from its own prompt; a row is active from `begin` to `drop`."""

    def __init__(self, model: Any, slots: int, longest_prompt: int, longest_answer: int) -> None:
        self.model = model
        self.cache = KVCache(model.config.n_layer, rounded(slots), longest_prompt + longest_answer)
        self.lengths: list[int] = []

    def begin(self, prompts: Sequence[list[int]]) -> list[int]:
        """Process new prompts except their last tokens, which are returned as input to the first step."""
        read = [prompt[:-1] for prompt in prompts]
        if any(read):
            ids = padded(read, self.model.device)
            seen = torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool, device=ids.device).tril()
            depths = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
            self.cache.begin_rows(len(self.lengths))
            bias = _alibi(self.model, depths, seen.expand(len(ids), -1, -1))
            _run_blocks(self.model, ids, bias, self.cache)
        self.lengths += [len(prompt) for prompt in read]
        return [prompt[-1] for prompt in prompts]

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """Append one token to every row and return the logits that follow it, shape (n, V)."""
        count = len(tokens)
        idle = [0] * (rounded(count) - count)
        ids = torch.tensor([*tokens, *idle], device=self.model.device)[:, None]
        lengths = torch.tensor([*self.lengths, *idle], device=ids.device)
        depths = torch.arange(max(self.lengths) + 1, device=ids.device).expand(len(ids), -1)
        seen = depths <= lengths[:, None]
        self.cache.step(lengths)
        states = _run_blocks(self.model, ids, _alibi(self.model, depths, seen[:, None]), self.cache)
        self.lengths = [length + 1 for length in self.lengths]
        return self.model.lm_head(states[:, 0])[:count]

    def drop(self, row: int) -> None:
        """Remove a row; the last row moves into its slot."""
        last = self.lengths.pop()
        if row < len(self.lengths):
            self.cache.move(len(self.lengths), row, last)
            self.lengths[row] = last


def _run_blocks(
    model: Any, ids: torch.Tensor, bias: torch.Tensor, cache: KVCache | None = None, *, wide: bool = False
) -> torch.Tensor:
    trunk = model.transformer
    states = call(trunk.word_embeddings_layernorm, trunk.word_embeddings(ids), wide=wide)
    bias = bias.to(states.dtype)
    for block in anatomy.blocks(model, "decoder"):
        here = bias.to(states.device)
        states = call(block, states, wide=wide, alibi=here, attention_mask=None, layer_past=cache)[0]
    return call(anatomy.final_norm(model, "decoder"), states, wide=wide)


def _alibi(model: Any, depths: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """Return the bias on attention scores, (B·H, Q, K), from the depths of keys (B, K) and the visibility mask (B, Q, K).

    ALiBi is computed from the key's position alone: the query's part is constant in each row and cancels in the softmax.
    """
    trunk = model.transformer
    longest = torch.ones(1, int(depths.max()) + 1, device=depths.device, dtype=torch.long)
    slopes = trunk.build_alibi_tensor(longest, trunk.num_heads, model.dtype)[:, 0]  # (H, positions)
    bias = slopes[:, depths].transpose(0, 1)[:, :, None]  # (B, H, 1, K)
    bias = torch.where(seen[:, None], bias, torch.finfo(model.dtype).min)
    return bias.flatten(0, 1)
