"""Sampling whose noise belongs to the row: a sample does not depend on the batch it was drawn in.

The largest of the logits plus Gumbel noise is a sample of their softmax (the Gumbel-max trick), so sampling is greedy
decoding of noisy logits, and each row's noise comes from a generator of its own.
"""

from hashlib import blake2b

import torch
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from workbench.models.requests import Decoding


def samplers(rows: list[str], decoding: Decoding) -> LogitsProcessorList:
    """The processors that make greedy decoding sample, none if it is to stay greedy.

    Args:
        rows: one text per row that seeds its noise: (seed, sample index, prompt).
    """
    if not decoding.do_sample:
        return LogitsProcessorList()
    found: list[LogitsProcessor] = []
    if decoding.temperature != 1.0:
        found.append(TemperatureLogitsWarper(decoding.temperature))
    if decoding.top_k:
        found.append(TopKLogitsWarper(decoding.top_k))
    if decoding.top_p < 1.0:
        found.append(TopPLogitsWarper(decoding.top_p))
    return LogitsProcessorList([*found, _RowNoise(rows)])


class _RowNoise(LogitsProcessor):
    """Add Gumbel noise to logits (B, V); the k-th call draws each row's k-th noise."""

    def __init__(self, rows: list[str]) -> None:
        digests = [blake2b(row.encode(), digest_size=8).digest() for row in rows]
        self.generators = [
            torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1) for digest in digests
        ]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        draws = torch.stack([torch.rand(scores.shape[-1], generator=g) for g in self.generators])
        noise = -torch.log(-torch.log(draws.clamp(1e-20, 1 - 1e-7)))
        return scores.float() + noise.to(scores.device)
