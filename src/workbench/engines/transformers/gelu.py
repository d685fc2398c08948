"""GELU as one kernel: transformers computes it in BLOOM and mT5 as eight operations.

The function is the same (the tanh form) up to rounding; a forward pass, and a training step even more, take less time and
memory.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn
from transformers.activations import NewGELUActivation
from transformers.models.bloom.modeling_bloom import BloomGelu, BloomMLP
from transformers.models.mt5.modeling_mt5 import MT5DenseGatedActDense


def fuse(model: Any) -> Sequence[tuple[nn.Module, str, nn.Module]]:
    """Make a model compute each GELU with one kernel; return what was replaced, as (parent, name, module)."""
    found = [
        (parent, name, child)
        for parent in model.modules()
        if isinstance(parent, BloomMLP | MT5DenseGatedActDense)
        for name, child in parent.named_children()
        if isinstance(child, BloomGelu | NewGELUActivation)
    ]
    for parent, name, _ in found:
        setattr(parent, name, nn.GELU(approximate="tanh"))
    return found


@contextlib.contextmanager
def one_kernel(model: Any) -> Iterator[None]:
    """Fuse a model's GELUs inside the context; its own activations are restored afterwards."""
    replaced = fuse(model)
    try:
        yield
    finally:
        for parent, name, child in replaced:
            setattr(parent, name, child)
