"""Rows of different lengths become one tensor."""

from collections.abc import Sequence

import numpy as np
import torch

from workbench.engines.transformers.rows import Row


def padded(rows: Sequence[Sequence[int] | np.ndarray], device: torch.device, fill: int = 0) -> torch.Tensor:
    """Integers (B, longest), each row from the left; what is filled up must be masked by the caller."""
    array = np.full((len(rows), max(1, *(len(row) for row in rows))), fill, dtype=np.int64)
    for number, row in enumerate(rows):
        array[number, : len(row)] = row
    return torch.from_numpy(array).to(device)


def real(rows: Sequence[Sequence[int] | np.ndarray], device: torch.device) -> torch.Tensor:
    """The mask that belongs to `padded`: 1 for a row's own tokens, 0 for what was filled up, int64 (B, longest)."""
    return padded([[1] * len(row) for row in rows], device)


def tree_mask(rows: Sequence[Row], width: int, device: torch.device) -> torch.Tensor:
    """What each node of each row sees, bool (B, width, width)."""
    return torch.from_numpy(np.stack([row.visible(width) for row in rows])).to(device)
