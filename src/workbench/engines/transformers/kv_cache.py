"""A KV cache for rows of different lengths that begin and end at different times, each row in a slot of its own.

transformers' own cache grows all rows together and copies itself at every step; here a row's keys stay where they
are, and a row that has ended gives its slot to another. Slots 0 … n-1 are in use, n the rows at work.
"""

from typing import Any

import torch
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin


def rounded(rows: int) -> int:
    """How many rows to step with: a matrix of 3 to 15 rows is multiplied more slowly than one of 16 (measured, MKL)."""
    return rows if rows <= 2 else -(-rows // 16) * 16


class RowLayer(CacheLayerMixin):
    """One layer's keys and values, shape (slots, H, capacity, D); allocated when the first row comes."""

    def __init__(self, slots: int, capacity: int) -> None:
        super().__init__()
        self.slots, self.capacity = slots, capacity
        self.start = 0
        self.reach = 0
        self.lengths: torch.Tensor | None = None

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Allocate room for all slots, as zeros: a masked place still counts, with weight 0, and 0 times NaN is NaN."""
        shape = (self.slots, key_states.shape[1], self.capacity, key_states.shape[-1])
        self._keys, self._values = key_states.new_zeros(shape), value_states.new_zeros(shape)
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Take in new rows from slot `start` on, or one token for each row at work at its own length."""
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
        """Keys and values of the first `count` slots up to `reach`; the same memory."""
        self.keys, self.values = self._keys[:count, :, :reach], self._values[:count, :, :reach]
        return self.keys, self.values

    def move(self, source: int, target: int, length: int) -> None:
        """Copy a row's first `length` keys and values into another slot."""
        for states in (self._keys, self._values):
            states[target, :, :length] = states[source, :, :length]

    def get_seq_length(self) -> int:
        """No length holds for all rows; masks and positions are given from outside."""
        return 0

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Not asked for: masks are given from outside."""
        return query_length, 0

    def get_max_length(self) -> int:
        """The capacity in tokens."""
        return self.capacity


class KVCache(Cache):
    """The slots of every layer, in transformers' form."""

    def __init__(self, layers: int, slots: int, capacity: int) -> None:
        self.of_layers = [RowLayer(slots, capacity) for _ in range(layers)]
        super().__init__(layers=list(self.of_layers))

    def begin_rows(self, start: int) -> None:
        """The next forward brings whole rows, from slot `start` on."""
        for layer in self.of_layers:
            layer.start, layer.lengths = start, None

    def step(self, lengths: torch.Tensor) -> None:
        """The next forward brings one token per row, the rows having (n,) tokens already."""
        reach = int(lengths.max()) + 1
        for layer in self.of_layers:
            layer.lengths, layer.reach = lengths, reach

    def read_only(self, count: int, reach: int) -> None:
        """The next forward reads the first `count` slots up to `reach` and brings nothing."""
        for layer in self.of_layers:
            layer.view(count, reach)

    def move(self, source: int, target: int, length: int) -> None:
        """Copy a row into another slot, in all layers."""
        for layer in self.of_layers:
            layer.move(source, target, length)
