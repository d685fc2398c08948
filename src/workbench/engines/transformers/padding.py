"""Padding of rows of different lengths into one tensor."""

from collections.abc import Sequence

import numpy as np
import torch

from workbench.engines.transformers.trees import Row


def padded(rows: Sequence[Sequence[int] | np.ndarray], device: torch.device, fill: int = 0) -> torch.Tensor:
    """Return integers (B, longest), padded on the right with `fill`; the caller must mask the padding."""
    array = np.full((len(rows), max(1, *(len(row) for row in rows))), fill, dtype=np.int64)
    for number, row in enumerate(rows):
        array[number, : len(row)] = row
    return torch.from_numpy(array).to(device)


def real(rows: Sequence[Sequence[int] | np.ndarray], device: torch.device) -> torch.Tensor:
    """Return the mask that belongs to `padded`, int64 (B, longest): 1 for a row's own tokens, 0 for padding."""
    return padded([[1] * len(row) for row in rows], device)


def tree_mask(rows: Sequence[Row], width: int, device: torch.device) -> torch.Tensor:
    """Return which nodes each node of each row attends to, bool (B, width, width)."""
    return torch.from_numpy(np.stack([row.visible(width) for row in rows])).to(device)
