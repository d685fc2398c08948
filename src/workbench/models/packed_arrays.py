"""Arrays of float32 as they stand in a key and in an order to the service: finite, unchanging, and as JSON."""

from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from workbench.errors import BadInput


def kept(name: str, given: ArrayLike) -> np.ndarray:
    """Return a copy in float32 that nobody can change. Raises BadInput for what is no array of finite numbers."""
    try:
        array = np.array(given, dtype=np.float32, order="C")
    except (TypeError, ValueError):
        raise BadInput(f"{name} is not an array of numbers") from None
    if not np.isfinite(array).all():
        raise BadInput(f"{name} holds a number that is not finite")
    array.flags.writeable = False
    return array


def packed(array: np.ndarray) -> list[Any]:
    """Return an array as JSON: its shape, and its bytes in base64."""
    return [list(array.shape), b64encode(array.astype("<f4").tobytes()).decode()]


def unpacked(fields: Sequence[Any]) -> np.ndarray:
    """Return the array that `packed` described."""
    shape, text = fields
    return np.frombuffer(b64decode(text), "<f4").reshape(shape)
