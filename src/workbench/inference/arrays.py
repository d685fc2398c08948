"""The store's form of arrays of states."""

import io

import numpy as np

from workbench.errors import BadInput
from workbench.store.arrays import npy_header

_LARGEST = np.finfo(np.float16).max


def to_npy(array: np.ndarray, *, precision: str = "float32") -> bytes:
    """Return the bytes of an .npy file. Raises BadInput for a state beyond float16."""
    if precision == "float16" and np.abs(array).max() > _LARGEST:
        raise BadInput(
            f"a state is {np.abs(array).max():.0f}, more than float16 can hold; use precision='float32'"
        )
    buffer = io.BytesIO()
    np.save(buffer, array.astype(precision), allow_pickle=False)
    return buffer.getvalue()


def from_npy(raw: bytes) -> np.ndarray:
    """Return the array in an .npy file, in float32."""
    shape, is_fortran, dtype, start = npy_header(raw)
    flat = np.frombuffer(raw, dtype, offset=start)
    return flat.reshape(shape, order="F" if is_fortran else "C").astype(np.float32)
