"""Hidden states by layer, pooled over the tokens of a text."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from workbench.engines.transformers.out_of_memory import in_halves, parts
from workbench.engines.transformers.padding import padded, real
from workbench.engines.transformers.precision import expect_finite
from workbench.models.requests import StateOptions


def read_states(
    model: Any,
    encoded: Sequence[np.ndarray],
    reading: StateOptions,
    batch_size: int,
    batch_tokens: int | None = None,
) -> Iterator[tuple[list[int], list[np.ndarray]]]:
    """Yield (positions, states) batch by batch, each float32 of shape (L+1, D): embeddings, then every layer.

    The decoder of an encoder-decoder is read at its start token, with the text in the encoder.

    Raises:
        BadInput: states that are not finite, or a single text that does not fit into memory.
    """
    lengths = [len(ids) for ids in encoded]

    def read(order: list[int], rows: int) -> Iterator[dict[int, np.ndarray]]:
        for batch in parts(order, lengths, rows, batch_tokens):
            states = _read_batch(model, [encoded[number] for number in batch], reading)
            expect_finite(model, "hidden states", finite=bool(np.isfinite(states).all()))
            yield dict(zip(batch, states, strict=True))

    order = sorted(range(len(encoded)), key=lambda number: (-lengths[number], number))
    for found in in_halves(order, batch_size, lengths, read):
        yield list(found), list(found.values())


@torch.inference_mode()
def _read_batch(model: Any, encoded: Sequence[np.ndarray], reading: StateOptions) -> np.ndarray:
    ids, mask = padded(encoded, model.device), real(encoded, model.device)
    options = {"attention_mask": mask, "output_hidden_states": True}
    is_encoder_decoder = bool(model.config.is_encoder_decoder)
    if is_encoder_decoder and reading.stack == "decoder":
        start = torch.full((len(encoded), 1), model.config.decoder_start_token_id, device=ids.device)
        layers = model(input_ids=ids, decoder_input_ids=start, **options).decoder_hidden_states
        mask = torch.ones_like(start)
    elif is_encoder_decoder:
        layers = model.get_encoder()(input_ids=ids, **options).hidden_states
    else:
        layers = model.base_model(input_ids=ids, **options).hidden_states
    pooled = [_pool(layer.float(), mask.to(layer.device), reading.pooling).cpu() for layer in layers]
    return torch.stack(pooled, dim=1).numpy()


def _pool(states: torch.Tensor, mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """Pool (B, T, D) to (B, D) over real tokens; `weighted` weights a token by its position, as MEXA does."""
    if pooling == "last":
        last = mask.sum(1) - 1
        return states[torch.arange(len(states), device=states.device), last]
    weights = mask.float() if pooling == "mean" else mask.float().cumsum(1) * mask
    return (states * weights[..., None]).sum(1) / weights.sum(1, keepdim=True)
