"""Where half precision is slower than single: processors without matrix units for it. And numbers that are none.

Such a processor multiplies float32 faster than bfloat16 (measured: 1.8 times, AVX-512), so weights are kept in half
precision and cast where they are used, a block at a time. What is computed is then more exact than in half precision.
"""

from typing import Any

import torch
from torch.func import functional_call

from workbench.errors import BadInput


def better_wide(model: Any) -> bool:
    """Whether a model in half precision is faster in float32 arithmetic: on a CPU without tiles (AMX)."""
    half = model.dtype != torch.float32 and model.device.type == "cpu"
    return half and not torch.cpu.get_capabilities().get("amx_tile", False)


def call(module: torch.nn.Module, states: torch.Tensor, *, wide: bool, **options: Any) -> Any:
    """Call a module; `wide` means in float32, with its weights cast for this call only."""
    if not wide:
        return module(states, **options)
    weights = {name: weight.float() for name, weight in module.named_parameters()}
    return functional_call(module, weights, (states.float(),), options)


def expect_finite(model: Any, what: str, *, finite: bool) -> None:
    """Refuse what a model gives where it is not a finite number.

    Raises:
        BadInput: damaged weights, or an overflow.
    """
    if not finite:
        raise BadInput(
            f"the model's {what} are not finite (NaN or infinity), computed in {str(model.dtype).removeprefix('torch.')}; "
            'nothing is stored of them: load it with dtype="float32", or, if that does not help, fetch its weights again'
        )
