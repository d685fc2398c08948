"""GELU by one kernel while a model is trained: transformers writes BLOOM's and mT5's as many small operations.

The function is the same (the tanh form), but for rounding; a step takes less time and memory.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import nn
from transformers.activations import NewGELUActivation
from transformers.models.bloom.modeling_bloom import BloomGelu


@contextlib.contextmanager
def one_kernel(model: Any) -> Iterator[None]:
    """Let a model compute its GELUs by one kernel each; afterwards it has its own again."""
    found = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, BloomGelu | NewGELUActivation)
    ]
    try:
        for parent, name, _ in found:
            setattr(parent, name, nn.GELU(approximate="tanh"))
        yield
    finally:
        for parent, name, child in found:
            setattr(parent, name, child)
