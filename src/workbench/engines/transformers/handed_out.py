"""Detection of changes to a model after outside code had access to it.

An answer computed with a hook, an edited weight or a replaced module is not the checkpoint's answer and must not be stored as
one. Settings and modules are compared directly; weights by position-weighted sums of their bits, at about 4 GB per second on
a CPU, since assignments through `.data` or numpy leave no other trace. Weights offloaded by accelerate are not checked.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from workbench.engines.transformers.quantized import scales

_HOOKS = {
    "_forward_hooks",
    "_forward_pre_hooks",
}  # the private attributes of a module that can change an answer
_CAPTURING = "transformers.utils.output_capturing"  # harmless hooks, left by reading hidden states
_WORDS = 2**18  # 64-bit words per sum; fits into a processor's cache


@dataclass(frozen=True)
class Snapshot:
    """The state of a model and its tokenizer, by the name of each part."""

    parts: dict[str, Any]

    def difference(self, model: Any, tokenizer: Any) -> str | None:
        """Return the name of the first part that differs; None if all are equal."""
        now = dict(_parts(model, tokenizer))
        changed = (name for name in {**self.parts, **now} if not _same(self.parts.get(name), now.get(name)))
        return next(changed, None)


def snapshot(model: Any, tokenizer: Any) -> Snapshot:
    """Return the current state of a model and its tokenizer."""
    return Snapshot(dict(_parts(model, tokenizer)))


def _parts(model: Any, tokenizer: Any) -> Iterator[tuple[str, Any]]:
    yield "config", model.config.to_json_string(use_diff=False)
    yield "generation_config", model.generation_config.to_json_string(use_diff=False)
    yield "tokenizer", repr(tokenizer)
    for name, module in model.named_modules():
        place = name or "the model"
        yield f"{place} (the module)", module
        for field, value in vars(module).items():
            if field in _HOOKS or not field.startswith("_"):
                yield f"{place}.{field}", _kept(value)
    for tensors in (model.named_parameters(), model.named_buffers(), scales(model)):
        for name, tensor in tensors:
            yield name, _kept(tensor)


def _kept(value: Any) -> Any:
    """Return a value that does not change when the original is modified in place."""
    if isinstance(value, torch.Tensor):
        return (value.shape, value.dtype, _sums(value))
    if isinstance(value, dict):
        return [pair for pair in value.items() if getattr(pair[1], "__module__", "") != _CAPTURING]
    return value


def _same(one: Any, other: Any) -> bool:
    return one is other or bool(one == other)


def _sums(tensor: torch.Tensor) -> bytes:
    if tensor.is_meta:
        return b""
    raw = tensor.detach().contiguous().flatten().view(torch.uint8)
    end = len(raw) - len(raw) % 8
    weights = torch.arange(1, 2 * _WORDS, 2, device=raw.device)
    words = raw[:end].view(torch.int64).split(_WORDS)
    sums = [(part * weights[: len(part)]).sum().reshape(1) for part in words]
    return torch.cat([*sums, raw[end:].long()]).cpu().numpy().tobytes()
