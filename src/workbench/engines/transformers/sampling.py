"""Sampling whose noise belongs to the row: a sample does not depend on the batch it was drawn in.

The largest of the logits plus Gumbel noise is a sample of their softmax (the Gumbel-max trick), so sampling is greedy
decoding of noisy logits, and each row's noise comes from a generator of its own.
"""

from collections.abc import Sequence
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


def warpers(decoding: Decoding) -> LogitsProcessorList:
    """What bends the distribution before a sample is drawn; nothing if decoding is greedy."""
    found: list[LogitsProcessor] = []
    if decoding.do_sample and decoding.temperature != 1.0:
        found.append(TemperatureLogitsWarper(decoding.temperature))
    if decoding.do_sample and decoding.top_k:
        found.append(TopKLogitsWarper(decoding.top_k))
    if decoding.do_sample and decoding.top_p < 1.0:
        found.append(TopPLogitsWarper(decoding.top_p))
    return LogitsProcessorList(found)


def noise_source(seed: str) -> torch.Generator:
    """A row's own generator, from the text that tells it apart: (seed, sample index, prompt)."""
    digest = blake2b(seed.encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


class RowNoise(LogitsProcessor):
    """Add Gumbel noise to logits (B, V); the k-th call draws the k-th noise of each row's generator."""

    def __init__(self, generators: Sequence[torch.Generator]) -> None:
        self.generators = generators

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Noisy logits; `input_ids` does not matter."""
        noise = torch.stack([_gumbel(scores.shape[-1], generator) for generator in self.generators])
        return scores.float() + noise.to(scores.device)


def _gumbel(count: int, generator: torch.Generator) -> torch.Tensor:
    """Gumbel noise, float32: minus the logarithm of exponentials.

    Uniform numbers are drawn in float64: among the float32 ones, which are multiples of 2**-24, a vocabulary of 250,000
    words finds ties, and none gives noise above 17 nats.
    """
    uniform = torch.rand(count, generator=generator, dtype=torch.float64)
    exponential = uniform.neg_().log1p_().neg_().clamp_(min=2.0**-54)
    return exponential.float().log_().neg_()
