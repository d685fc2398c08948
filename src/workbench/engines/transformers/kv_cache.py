"""A KV cache for rows of different lengths that begin and end at different times, each in its own slot.

transformers' own cache extends all rows together and is copied at every step; here a row's keys stay in place, and the slot
of a finished row is reused. The n active rows occupy slots 0 … n-1.
"""

from typing import Any

import torch
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin


def rounded(rows: int) -> int:
    """Return the number of rows to compute: a matrix of 3 to 15 rows is multiplied more slowly than one of 16 (measured, MKL)."""
    return rows if rows <= 2 else -(-rows // 16) * 16


class RowLayer(CacheLayerMixin):
    """Keys and values of one layer, shape (slots, H, capacity, D); allocated when the first row is added."""

    def __init__(self, slots: int, capacity: int) -> None:
        super().__init__()
        self.slots, self.capacity = slots, capacity
        self.start = 0
        self.reach = 0
        self.lengths: torch.Tensor | None = None

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Allocate all slots with zeros: masked positions get weight 0, but 0 times NaN is NaN."""
        shape = (self.slots, key_states.shape[1], self.capacity, key_states.shape[-1])
        self._keys, self._values = key_states.new_zeros(shape), value_states.new_zeros(shape)
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store new rows from slot `start` on, or append one token to each active row at its own length."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        count, new = key_states.shape[0], key_states.shape[2]
        if self.lengths is None:
            self._keys[self.start : self.start + count, :, :new] = key_states
            self._values[self.start : self.start + count, :, :new] = value_states
            return key_states, value_states
        rows, lengths = torch.arange(count, device=key_states.device), self.lengths.to(key_states.device)
        self._keys[rows, :, lengths] = key_states[:, :, 0]
        self._values[rows, :, lengths] = value_states[:, :, 0]
        return self.view(count, self.reach)

    def view(self, count: int, reach: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return keys and values of the first `count` slots up to position `reach`, without copying."""
        self.keys, self.values = self._keys[:count, :, :reach], self._values[:count, :, :reach]
        return self.keys, self.values

    def move(self, source: int, target: int, length: int) -> None:
        """Copy a row's first `length` keys and values into another slot."""
        for states in (self._keys, self._values):
            states[target, :, :length] = states[source, :, :length]

    def get_seq_length(self) -> int:
        """Return 0: rows have different lengths, and masks and positions are given by the caller."""
        return 0

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return a placeholder: masks are given by the caller."""
        return query_length, 0

    def get_max_length(self) -> int:
        """Return the capacity in tokens."""
        return self.capacity


class KVCache(Cache):
    """The slots of all layers, as a transformers cache."""

    def __init__(self, layers: int, slots: int, capacity: int) -> None:
        self.of_layers = [RowLayer(slots, capacity) for _ in range(layers)]
        super().__init__(layers=list(self.of_layers))

    def begin_rows(self, start: int) -> None:
        """Prepare for a forward pass that adds whole rows, from slot `start` on."""
        for layer in self.of_layers:
            layer.start, layer.lengths = start, None

    def step(self, lengths: torch.Tensor) -> None:
        """Prepare for a forward pass that appends one token per row; `lengths` (n,) counts the tokens already there."""
        reach = int(lengths.max()) + 1
        for layer in self.of_layers:
            layer.lengths, layer.reach = lengths, reach

    def read_only(self, count: int, reach: int) -> None:
        """Prepare for a forward pass that reads the first `count` slots up to `reach` and adds nothing."""
        for layer in self.of_layers:
            layer.view(count, reach)

    def move(self, source: int, target: int, length: int) -> None:
        """Copy a row into another slot, in all layers."""
        for layer in self.of_layers:
            layer.move(source, target, length)
