"""Rounds the weights of a model, or moves them by noise of the same norm, as `workbench.models.simulated` names it.

Both change the matrices that 8 and 4 bit cover (`is_quantizable`); embeddings, head and norms stay. A matrix's noise depends on the seed
and its name alone.
"""

from hashlib import sha256
from typing import Any

import numpy as np
import torch

from workbench.errors import BadInput
from workbench.models.memory import is_quantizable
from workbench.models.simulated import GROUP, Simulated


@torch.no_grad()
def simulate(model: Any, wanted: Simulated) -> None:
    """Change the weights of a model in place.

    Raises:
        BadInput: some of them are on the disk.
    """
    for name, weight in model.named_parameters():
        if is_quantizable(name, weight.shape):
            if weight.is_meta:
                raise BadInput(f"{wanted.name} needs all weights in memory, and {name} is on the disk")
            weight.copy_(
                rounded(weight, wanted.bits) if wanted.seed is None else _moved(name, weight, wanted)
            )


def rounded(weight: torch.Tensor, bits: int) -> torch.Tensor:
    """Return a matrix, shape (outputs, inputs), with each weight rounded to the nearest of 2**bits levels; float32.

    Each group of 64 neighbouring inputs of an output has evenly spaced levels from its least to its greatest weight.
    """
    weight = weight.float()
    whole = weight.shape[1] // GROUP * GROUP
    groups = weight[:, :whole].unflatten(1, (-1, GROUP)), weight[:, whole:].unsqueeze(1)
    return torch.cat([_nearest(each, bits).flatten(1) for each in groups if each.numel()], dim=1)


def _nearest(groups: torch.Tensor, bits: int) -> torch.Tensor:
    low, high = groups.aminmax(dim=-1, keepdim=True)
    step = ((high - low) / (2**bits - 1)).clamp_min(torch.finfo(torch.float32).tiny)
    return low + ((groups - low) / step).round() * step


def _moved(name: str, weight: torch.Tensor, wanted: Simulated) -> torch.Tensor:
    seed = int.from_bytes(sha256(f"{wanted.seed} {name}".encode()).digest()[:8])
    drawn = np.random.default_rng(seed).standard_normal(tuple(weight.shape), dtype=np.float32)
    noise = torch.from_numpy(drawn).to(weight.device)
    return weight + noise * ((rounded(weight, wanted.bits) - weight).norm() / noise.norm())
