"""The valid form of a stored array (see `forms`); a separate module, since only hidden states need numpy."""

import io
import math
from functools import lru_cache
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
    try:
        shape, _, dtype, start = npy_header(value)
    except (ValueError, EOFError) as error:
        raise ValueError(f"it is not an array: {error}") from error
    data = memoryview(value)[start:]
    is_states = dtype in (np.float32, np.float16) and len(shape) in dimensions
    if not is_states or math.prod(shape) * dtype.itemsize != len(data) or not data:
        raise ValueError("it is not a float32 or float16 array of layers by width, or by positions by width")
    if not np.isfinite(np.frombuffer(data, dtype)).all():
        raise ValueError("a state is not finite")
    return value


def npy_header(raw: bytes) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Return the shape, whether the order is Fortran's, the type, and where the data start, of an .npy file of version 1.0.

    Raises:
        ValueError: it is no such file.
    """
    start = 10 + int.from_bytes(raw[8:10], "little")
    return (*_read_header(raw[:start]), start)


@lru_cache  # the states of a call have few shapes, and numpy reads a header as Python's source
def _read_header(head: bytes) -> tuple[tuple[int, ...], bool, np.dtype]:
    file = io.BytesIO(head)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("another version")
    return np.lib.format.read_array_header_1_0(file)
