"""How often and how strongly neurons are active over the tokens of texts, summed during the forward pass.

Of all activations only sums over a batch are kept, L · 3 · n numbers: those of a single token are as many as that already.
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch

from workbench.engines.transformers.encoding import Encoded
from workbench.engines.transformers.hooks import Edits, captured, expect_known
from workbench.engines.transformers.out_of_memory import in_halves, parts
from workbench.engines.transformers.padding import padded, real
from workbench.engines.transformers.precision import expect_finite
from workbench.models.requests import Stack

_AT_ONCE = 4096  # tokens: of a layer, 16,384 neurons then take 270 MB


def read_activity(
    model: Any, encoded: Sequence[Encoded], batch_size: int, edits: Edits | None = None
) -> np.ndarray:
    """Return means over tokens, float32 of shape (L, 3, n): is the neuron active (its GELU's input above 0), its value, and that squared.

    Texts without a prompt (encoded as prompts) are read by the stack that reads prompts, and all their tokens count. After a prompt the
    decoder reads the text, and the places count from the one that predicts its first token.

    Raises:
        BadInput: activations that are not finite, another architecture, or a single text that does not fit into memory.
    """
    expect_known(model)
    lengths = [len(each.prompt) + len(each.text) for each in encoded]
    totals, tokens = np.zeros(()), 0

    def read(order: list[int], rows: int) -> Iterator[dict[int, None]]:
        nonlocal totals, tokens
        for batch in parts(order, lengths, rows, _AT_ONCE):
            with edits.during(batch) if edits else nullcontext():
                found, count = _sums(model, [encoded[number] for number in batch])
            totals, tokens = totals + found, tokens + count
            yield dict.fromkeys(batch)

    order = sorted(range(len(encoded)), key=lambda number: (-lengths[number], number))
    for _ in in_halves(order, batch_size, lengths, read):
        pass
    means = (totals / tokens).astype(np.float32)
    expect_finite(model, "activations of neurons", finite=bool(np.isfinite(means).all()))
    return means


@torch.inference_mode()
def _sums(model: Any, batch: Sequence[Encoded]) -> tuple[np.ndarray, int]:
    """Return the sums over a batch's counted places, float64 (L, 3, n), and the number of these places."""
    is_after = bool(model.config.is_encoder_decoder) and len(batch[0].text) > 0
    stack: Stack = "encoder" if model.config.is_encoder_decoder and not is_after else "decoder"
    if is_after:
        read = [[model.config.decoder_start_token_id, *one.text.tolist()] for one in batch]
        firsts = [0] * len(batch)
    else:
        read = [[*one.prompt.tolist(), *one.text.tolist()] for one in batch]
        firsts = [max(len(one.prompt) - 1, 0) if len(one.text) else 0 for one in batch]
    counted = padded(
        [[n >= first for n in range(len(ids))] for ids, first in zip(read, firsts, strict=True)], model.device
    )

    def share(gates: torch.Tensor) -> torch.Tensor:
        return _summed((gates > 0).float(), counted)

    def moments(values: torch.Tensor) -> torch.Tensor:
        wide = values.float()
        return torch.stack([_summed(wide, counted), _summed(wide.square(), counted)])

    with captured(model, stack, "gates", share) as shares, captured(model, stack, "neurons", moments) as rest:
        ids, mask = padded(read, model.device), real(read, model.device)
        if is_after:
            prompts = [one.prompt for one in batch]
            given = {"attention_mask": real(prompts, model.device)}
            states = model.get_encoder()(input_ids=padded(prompts, model.device), **given).last_hidden_state
            behind = {"encoder_hidden_states": states, "encoder_attention_mask": given["attention_mask"]}
            model.get_decoder()(input_ids=ids, **behind)
        else:
            reader = model.get_encoder() if stack == "encoder" else model.base_model
            reader(input_ids=ids, attention_mask=mask)
    layers = [torch.cat([one[None], two]) for one, two in zip(shares, rest, strict=True)]
    return torch.stack(layers).double().numpy(), int(counted.sum())


def _summed(values: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """Return the sums (n,) of values (B, T, n) over the places that count."""
    return torch.einsum("btn,bt->n", values, counted.to(values.device, values.dtype)).cpu()
