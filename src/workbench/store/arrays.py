"""The valid form of a stored array (see `forms`); a separate module, since only hidden states need numpy."""

import io
import math
from typing import Any

import numpy as np


def states(value: Any) -> bytes:
    """Return the bytes of an .npy file of float32 or float16: layers by width, or layers by positions by width.

    Raises:
        ValueError: the value is something else, or a state is not finite.
    """
    return _array(value, (2, 3))


def pooled_states(value: Any) -> bytes:
    """As `states`, of layers by width."""
    return _array(value, (2,))


def token_states(value: Any) -> bytes:
    """As `states`, of layers by positions by width."""
    return _array(value, (3,))


def _array(value: Any, dimensions: tuple[int, ...]) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("it is not an array")
    file = io.BytesIO(value)
    try:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError("another version")
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    except (ValueError, EOFError) as error:
        raise ValueError(f"it is not an array: {error}") from error
    data = memoryview(value)[file.tell() :]
    is_states = dtype in (np.float32, np.float16) and len(shape) in dimensions
    if not is_states or math.prod(shape) * dtype.itemsize != len(data) or not data:
        raise ValueError("it is not a float32 or float16 array of layers by width, or by positions by width")
    if not np.isfinite(np.frombuffer(data, dtype)).all():
        raise ValueError("a state is not finite")
    return value
