"""Sampling with a random generator per row, so that a sample does not depend on its batch.

The argmax of logits plus Gumbel noise is a sample from their softmax (the Gumbel-max trick), so sampling is greedy
decoding of noisy logits, with the noise of each row drawn from its own generator.
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
    """Return the processors for temperature, top-k and top-p; none if decoding is greedy."""
    found: list[LogitsProcessor] = []
    if decoding.do_sample and decoding.temperature != 1.0:
        found.append(TemperatureLogitsWarper(decoding.temperature))
    if decoding.do_sample and decoding.top_k:
        found.append(TopKLogitsWarper(decoding.top_k))
    if decoding.do_sample and decoding.top_p < 1.0:
        found.append(TopPLogitsWarper(decoding.top_p))
    return LogitsProcessorList(found)


def noise_source(seed: str) -> torch.Generator:
    """Return a row's own generator, seeded by the text that identifies it: (seed, sample index, prompt)."""
    digest = blake2b(seed.encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


class RowNoise(LogitsProcessor):
    """Add Gumbel noise to logits (B, V); the k-th call uses the k-th draw of each row's generator."""

    def __init__(self, generators: Sequence[torch.Generator]) -> None:
        self.generators = generators

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return noisy logits; `input_ids` is ignored."""
        noise = torch.stack([_gumbel(scores.shape[-1], generator) for generator in self.generators])
        return scores.float() + noise.to(scores.device)


def _gumbel(count: int, generator: torch.Generator) -> torch.Tensor:
    """Return `count` values of standard Gumbel noise, float32: minus the logarithm of exponential variates.

    Uniform numbers are drawn in float64: in float32 they are multiples of 2**-24, which gives ties in a vocabulary of 250,000
    tokens and no noise above 17 nats.
    """
    uniform = torch.rand(count, generator=generator, dtype=torch.float64)
    exponential = uniform.neg_().log1p_().neg_().clamp_(min=2.0**-54)
    return exponential.float().log_().neg_()
