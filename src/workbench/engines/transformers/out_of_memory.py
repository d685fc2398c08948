"""Batch sizes that fit into memory, and recovery from the various out-of-memory errors."""

import gc
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

from workbench.errors import BadInput
from workbench.models.memory import OFFLOAD
from workbench.run_log import note

NOT_EVEN_ONE = (
    "one prompt with its answer, of {} tokens or more, does not fit into memory; shorten it, or load the model in bfloat16 "
    "or on a larger device"
)
OUT_OF_MEMORY = (torch.OutOfMemoryError, MemoryError, RuntimeError)  # a CPU's allocator raises the last
AT_ONCE = 16_384  # prompt tokens that are processed at once, padding included
_SAYS_SO = re.compile(
    r"out of memory|(can't|cannot|could not|unable to) allocate|not enough memory|_ALLOC_FAILED|bad_alloc",
    re.IGNORECASE,
)
Found = TypeVar("Found")


def ran_out(error: BaseException) -> bool:
    """Whether an error among `OUT_OF_MEMORY` is really an out-of-memory error."""
    return (
        not isinstance(error, RuntimeError)
        or isinstance(error, torch.OutOfMemoryError)
        or _SAYS_SO.search(str(error)) is not None
    )


def parts(
    order: Sequence[int], lengths: Sequence[int], rows: int, tokens: int | None = None
) -> Iterator[list[int]]:
    """Split prompts, longest first, into batches of up to `rows` and `tokens` (`AT_ONCE` unless given), at least one each."""
    tokens = tokens or AT_ONCE
    while order:
        size = max(1, min(rows, tokens // max(1, lengths[order[0]])))
        yield list(order[:size])
        order = order[size:]


def in_halves(
    order: Sequence[int],
    rows: int,
    lengths: Sequence[int],
    work: Callable[[list[int], int], Iterator[dict[int, Found]]],
) -> Iterator[dict[int, Found]]:
    """Yield the results of `work(order, rows)` by number; when memory runs out, continue the rest with half the rows.

    Raises:
        BadInput: a single row does not fit into memory.
    """
    left = list(order)
    while left:
        try:
            for found in work(left, rows):
                left = [number for number in left if number not in found]
                yield found
        except OUT_OF_MEMORY as error:
            if not ran_out(error):
                raise
            if rows == 1:
                raise BadInput(NOT_EVEN_ONE.format(lengths[left[0]])) from error
            rows = halved(rows, "prompts")


def halved(size: int, unit: str) -> int:
    """Free unused memory, warn, and return half the size, to try next."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    half = max(size // 2, 1)
    warnings.warn(f"out of memory with {size} {unit} in a batch; continuing with {half}", stacklevel=2)
    note(memory={f"ran out with a batch of {unit}": size})
    return half


def free_on_gpu(device: str) -> int | None:
    """Return the free bytes of the GPUs that a device name stands for; None if torch has none."""
    if not torch.cuda.is_available():
        return None
    _, _, number = device.partition(":")
    numbers = (
        [int(number)] if number else range(torch.cuda.device_count() if device in ("auto", OFFLOAD) else 1)
    )
    return sum(torch.cuda.mem_get_info(each)[0] for each in numbers)
