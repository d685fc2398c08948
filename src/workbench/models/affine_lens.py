"""An affine lens: for each layer, a map of its states into the last layer's basis. A plain record; does not import torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

import numpy as np

from workbench.errors import BadInput
from workbench.models.packed_arrays import kept, packed, unpacked
from workbench.store import canonical


@dataclass(frozen=True, eq=False)
class AffineLens:
    """Maps of the layers 0 … L-1 of a decoder: a state h is read as ``h @ matrices[layer].T + offsets[layer]``, the last layer's as it is.

    Attributes:
        matrices, offsets: (L, D, D) and (L, D), float32.
    """

    matrices: np.ndarray
    offsets: np.ndarray

    def __post_init__(self) -> None:
        """Take copies of the arrays that nobody changes. Raises BadInput for shapes that do not belong together."""
        for name in ("matrices", "offsets"):
            object.__setattr__(self, name, kept(name, getattr(self, name)))
        shape = self.offsets.shape
        if len(shape) != 2 or self.matrices.shape != (*shape, shape[1]):
            raise BadInput(
                f"matrices have the shape {self.matrices.shape} and offsets {shape}; an affine lens has (L, D, D) and (L, D)"
            )

    @cached_property
    def digest(self) -> str:
        """A hash of everything about it."""
        return sha256(canonical(self.as_json()).encode()).hexdigest()

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON, for the service; `from_json` reads it."""
        return {"matrices": packed(self.matrices), "offsets": packed(self.offsets)}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "AffineLens":
        """Return the lens that `as_json` described."""
        return cls(**{name: unpacked(each) for name, each in fields.items()})
