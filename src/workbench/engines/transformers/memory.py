"""Out of memory, in the several forms in which it comes."""

import gc
import warnings

import torch

from workbench.run_log import note

NOT_EVEN_ONE = (
    "one prompt with its answer, of {} tokens or more, does not fit into memory; shorten it, or load the model in bfloat16 "
    "or on a larger device"
)
OUT_OF_MEMORY = (torch.OutOfMemoryError, MemoryError, RuntimeError)  # a CPU's allocator raises the last


def ran_out(error: BaseException) -> bool:
    """Whether an error of `OUT_OF_MEMORY` really is one."""
    return (
        not isinstance(error, RuntimeError)
        or isinstance(error, torch.OutOfMemoryError)
        or "memory" in str(error)
    )


def go_on_with_half(size: int, unit: str) -> int:
    """Return unused memory to the device, report, and say how much to try next."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    half = max(size // 2, 1)
    warnings.warn(f"out of memory with {size} {unit} in a batch; going on with {half}", stacklevel=2)
    note(memory={f"ran out with a batch of {unit}": size})
    return half
