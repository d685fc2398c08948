"""Use of float32 arithmetic where half precision is slower, and a check for values that are not finite.

A processor without matrix units for half precision multiplies float32 faster than bfloat16 (measured: 1.8 times, AVX-512), so
weights are kept in half precision and cast when they are used, one block at a time. Results are then more accurate than in
half precision.
"""

from typing import Any

import torch
from torch.func import functional_call

from workbench.engines.transformers.quantized import is_quantized
from workbench.errors import BadInput


def better_wide(model: Any) -> bool:
    """Whether a half-precision model computes faster in float32: on a CPU without AMX tiles; quantized weights are not cast."""
    half = model.dtype != torch.float32 and model.device.type == "cpu" and not is_quantized(model)
    return half and not torch.cpu.get_capabilities().get("amx_tile", False)


def call(module: torch.nn.Module, states: torch.Tensor, *, wide: bool, **options: Any) -> Any:
    """Call a module; with `wide`, in float32, casting its weights for this call only."""
    if not wide:
        return module(states, **options)
    weights = {name: weight.float() for name, weight in module.named_parameters()}
    return functional_call(module, weights, (states.float(),), options)


def expect_finite(model: Any, what: str, *, finite: bool) -> None:
    """Refuse results that are not finite.

    Raises:
        BadInput: `finite` is false, because of damaged weights or an overflow.
    """
    if not finite:
        raise BadInput(
            f"the model's {what} are not finite (NaN or infinity), computed in {str(model.dtype).removeprefix('torch.')}; "
            'they are not stored; load it with dtype="float32" or, if that does not help, fetch its weights again'
        )
