"""Hidden states by layer, pooled over the tokens of a text."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, nullcontext
from typing import Any

import numpy as np
import torch

from workbench.engines.transformers import anatomy
from workbench.engines.transformers.hooks import Edits, captured, expect_known
from workbench.engines.transformers.out_of_memory import in_halves, parts
from workbench.engines.transformers.padding import padded, real
from workbench.engines.transformers.precision import expect_finite
from workbench.errors import BadInput
from workbench.models.requests import Part, Stack, StateOptions


def read_states(
    model: Any,
    encoded: Sequence[np.ndarray],
    reading: StateOptions,
    batch_size: int,
    batch_tokens: int | None = None,
    edits: Edits | None = None,
) -> Iterator[tuple[list[int], list[np.ndarray]]]:
    """Yield (positions, states) batch by batch, each float32 of shape (L+1, D): embeddings, then every layer.

    The decoder of an encoder-decoder is read at its start token, with the text in the encoder.

    Raises:
        BadInput: states that are not finite, or a single text that does not fit into memory.
    """
    lengths = [len(ids) for ids in encoded]

    def read(order: list[int], rows: int) -> Iterator[dict[int, np.ndarray]]:
        for batch in parts(order, lengths, rows, batch_tokens):
            with edits.during(batch) if edits else nullcontext():
                states = _read_batch(model, [encoded[number] for number in batch], reading)
            expect_finite(model, "hidden states", finite=bool(np.isfinite(states).all()))
            yield dict(zip(batch, states, strict=True))

    order = sorted(range(len(encoded)), key=lambda number: (-lengths[number], number))
    for found in in_halves(order, batch_size, lengths, read):
        yield list(found), list(found.values())


def read_token_states(
    model: Any,
    pairs: Sequence[tuple[np.ndarray, np.ndarray]],
    positions: Sequence[tuple[int, ...] | None],
    what: tuple[Stack, Part],
    batch_size: int,
    edits: Edits | None = None,
) -> Iterator[tuple[list[int], list[np.ndarray]]]:
    """Yield (positions, states) batch by batch, each float32 of shape (layers, P, width): of every token, or of those chosen.

    The last layer is before the final norm.

    Args:
        pairs: the token ids of each text and of the answer that follows it, which may be empty. The decoder of an encoder-decoder reads
            its start token and the answer.

    Raises:
        BadInput: states that are not finite, a position beyond a text, or a single text that does not fit into memory.
    """
    expect_known(model)
    lengths = [len(ids) + len(answer) for ids, answer in pairs]
    after_encoder = bool(model.config.is_encoder_decoder) and what[0] == "decoder"
    read_lengths = [1 + len(answer) if after_encoder else len(ids) + len(answer) for ids, answer in pairs]
    places = [_places(each, length) for each, length in zip(positions, read_lengths, strict=True)]

    def read(order: list[int], rows: int) -> Iterator[dict[int, np.ndarray]]:
        for batch in parts(order, lengths, rows):
            with (
                edits.during(batch) if edits else nullcontext(),
                captured(model, *what, _on_cpu) as layers,
                torch.inference_mode(),
            ):
                read_pairs(model, [pairs[number] for number in batch], what[0])
            stacked = torch.stack(layers, dim=1)
            expect_finite(model, "hidden states", finite=bool(stacked.isfinite().all()))
            yield {number: stacked[row][:, places[number]].numpy() for row, number in enumerate(batch)}

    order = sorted(range(len(pairs)), key=lambda number: (-lengths[number], number))
    for found in in_halves(order, batch_size, lengths, read):
        yield list(found), list(found.values())


def read_pairs(
    model: Any, pairs: Sequence[tuple[np.ndarray, np.ndarray]], stack: Stack = "decoder"
) -> list[int]:
    """Run the model over texts and the answers that follow them, as far as a stack; return how many tokens it reads of each."""
    device = model.device
    if not model.config.is_encoder_decoder or stack == "encoder":
        rows = [np.concatenate(pair) for pair in pairs]
        _forward(model, padded(rows, device), real(rows, device), stack)
        return [len(row) for row in rows]
    start = np.array([model.config.decoder_start_token_id], dtype=np.int32)
    rows = [np.concatenate([start, answer]) for _, answer in pairs]
    sources = [source for source, _ in pairs]
    model(
        input_ids=padded(sources, device),
        attention_mask=real(sources, device),
        decoder_input_ids=padded(rows, device),
    )
    return [len(row) for row in rows]


def _on_cpu(states: torch.Tensor) -> torch.Tensor:
    return states.float().cpu()


def _places(positions: tuple[int, ...] | None, length: int) -> list[int]:
    if positions is None:
        return list(range(length))
    if not all(-length <= place < length for place in positions):
        raise BadInput(f"positions={positions}, but the text has {length} tokens there")
    return [place % length for place in positions]


@torch.inference_mode()
def _read_batch(model: Any, encoded: Sequence[np.ndarray], reading: StateOptions) -> np.ndarray:
    """Return the pooled states (B, L+1, D) of a batch; those of layer 0 as the first block gets them, for hooks may have changed them."""
    _, mask = batch = padded(encoded, model.device), real(encoded, model.device)
    if reading.stack == "decoder" and model.config.is_encoder_decoder:
        mask = torch.ones(len(encoded), 1, dtype=torch.long)

    def pool(states: torch.Tensor) -> torch.Tensor:
        return _pool(states.float(), mask.to(states.device), reading.pooling).cpu()

    with ExitStack() as hooks:
        pooled = (
            hooks.enter_context(captured(model, reading.stack, "input", pool))
            if anatomy.supports(model)
            else []
        )
        layers = _forward(model, *batch, reading.stack, output_hidden_states=True)
    return torch.stack([*pooled, *map(pool, layers[len(pooled) :])], dim=1).numpy()


def _forward(
    model: Any, ids: torch.Tensor, mask: torch.Tensor, stack: Stack, **options: bool
) -> Sequence[torch.Tensor]:
    """Run the model over texts as far as a stack, and return that stack's hidden states, if they are asked for."""
    read = {"input_ids": ids, "attention_mask": mask, **options}
    if not model.config.is_encoder_decoder:
        return model.base_model(**read).hidden_states
    if stack == "encoder":
        return model.get_encoder()(**read).hidden_states
    start = torch.full((len(ids), 1), model.config.decoder_start_token_id, device=ids.device)
    return model(**read, decoder_input_ids=start).decoder_hidden_states


def _pool(states: torch.Tensor, mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """Pool (B, T, D) to (B, D) over real tokens; `weighted` weights a token by its position, as MEXA does."""
    if pooling == "last":
        last = mask.sum(1) - 1
        return states[torch.arange(len(states), device=states.device), last]
    weights = mask.float() if pooling == "mean" else mask.float().cumsum(1) * mask
    return (states * weights[..., None]).sum(1) / weights.sum(1, keepdim=True)
