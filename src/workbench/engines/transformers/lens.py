"""The logit lens: what every layer's state at the answer's place says of the next token, through the final norm and the head.

Source: nostalgebraist 2020; for the decoder behind an encoder, the same on its states. The head of mT5 is not tied to the
embeddings, so its states are not scaled.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from workbench.engines.transformers import anatomy
from workbench.engines.transformers.encoding import Encoder, expect_room, short
from workbench.engines.transformers.hooks import Edits, captured, expect_known
from workbench.engines.transformers.out_of_memory import in_halves, parts
from workbench.engines.transformers.precision import expect_finite
from workbench.engines.transformers.states import read_pairs
from workbench.errors import BadInput
from workbench.models.affine_lens import AffineLens
from workbench.models.identity import Identity
from workbench.models.requests import Lens, ToLens


@dataclass(frozen=True)
class Place:
    """A prompt and the beginning of its answer, as token ids; the tokens that are asked for, and of each word the indices of its own."""

    prompt: np.ndarray
    answer: np.ndarray
    tokens: Sequence[int]
    words: list[list[int]]


def places_of(
    requests: Sequence[ToLens], encoder: Encoder, tokenizer: Any, identity: Identity
) -> list[Place]:
    """Return the places that requests ask about, with the first tokens of their words, with and without a space before them.

    Raises:
        BadInput: a prompt and answer beyond the context, or without a token to predict from.
    """

    def first_tokens(word: str) -> list[int]:
        """Leave out a token that is only a space, if there is another."""
        first = [*dict.fromkeys(int(ids[0]) for ids in encoder.ids([word, f" {word}"], special_tokens=False))]
        return [token for token in first if tokenizer.decode([token]).strip()] or first

    prompts = encoder.ids([each.prompt for each in requests], special_tokens=True)
    answers = encoder.ids([each.answer for each in requests], special_tokens=False)
    places = []
    for request, prompt, answer in zip(requests, prompts, answers, strict=True):
        about = f"the prompt {short(request.prompt)!r} and its answer have"
        expect_room(about, len(prompt) + len(answer), identity)
        first = [first_tokens(word) for word in request.words]
        tokens = [*dict.fromkeys(token for each in first for token in each)]
        places.append(
            Place(prompt, answer, tokens, [[tokens.index(token) for token in each] for each in first])
        )
    return places


def read_lens(
    model: Any,
    tokenizer: Any,
    places: Sequence[Place],
    top: int,
    batch_size: int,
    edits: Edits | None = None,
    affine: AffineLens | None = None,
) -> Iterator[tuple[list[int], list[Lens]]]:
    """Yield (positions, readings) batch by batch.

    Raises:
        BadInput: logits that are not finite, a single prompt that does not fit into memory, an affine lens of another depth or width, or
            another architecture than BLOOM and mT5.
    """
    expect_known(model)
    maps = _maps(model, affine)
    lengths = [len(each.prompt) + len(each.answer) for each in places]

    def in_batches(order: list[int], rows: int) -> Iterator[dict[int, Lens]]:
        for batch in parts(order, lengths, rows):
            chosen = [places[number] for number in batch]
            with edits.during(batch) if edits else nullcontext():
                layers = [read(states) for read, states in zip(maps, _states(model, chosen), strict=True)]
            yield dict(zip(batch, _readings(model, tokenizer, chosen, layers, top), strict=True))

    order = sorted(range(len(places)), key=lambda number: (-lengths[number], number))
    for found in in_halves(order, batch_size, lengths, in_batches):
        yield list(found), list(found.values())


def _maps(model: Any, affine: AffineLens | None) -> list[Callable[[torch.Tensor], torch.Tensor]]:
    """Return what is applied to the states (B, D) of each of L+1 layers; nothing to the last layer's."""
    depth, width = anatomy.depths(model)["decoder"], anatomy.width(model)
    if affine is None:
        return [lambda states: states] * (depth + 1)
    if affine.offsets.shape != (depth, width):
        raise BadInput(
            f"the affine lens has {affine.offsets.shape[0]} maps of width {affine.offsets.shape[1]}; the model's decoder has {depth} layers "
            f"before its last and states of width {width}: fit one for this model"
        )

    def mapped(layer: int, states: torch.Tensor) -> torch.Tensor:
        matrix, offset = (torch.from_numpy(each[layer].copy()) for each in (affine.matrices, affine.offsets))
        wide = states.float()
        return (wide @ matrix.to(wide.device).T + offset.to(wide.device)).to(states.dtype)

    return [*(partial(mapped, layer) for layer in range(depth)), lambda states: states]


@torch.inference_mode()
def _readings(
    model: Any, tokenizer: Any, places: Sequence[Place], layers: Sequence[torch.Tensor], top: int
) -> list[Lens]:
    """Apply norm and head layer by layer, since the logits of all layers at once would not fit into memory."""
    logprobs, entropies, likeliest, divergences = [], [], [], []
    last = _logprobs(model, layers[-1])
    for states in layers:
        found = _logprobs(model, states)
        divergences.append((last.exp() * (last - found)).sum(1).clamp(min=0).tolist())
        entropies.append((-found.exp() * found).sum(1).tolist())
        logprobs.append([found[row, list(each.tokens)].tolist() for row, each in enumerate(places)])
        best = found.topk(min(top, found.shape[1]), dim=1)
        likeliest.append(
            [
                [list(pair) for pair in zip(tokenizer.convert_ids_to_tokens(ids), values, strict=True)]
                for ids, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
            ]
        )
    return [
        Lens(
            [layer[row] for layer in logprobs],
            [layer[row] for layer in entropies],
            [layer[row] for layer in likeliest],
            [str(name) for name in tokenizer.convert_ids_to_tokens(list(each.tokens))],
            each.words,
            [layer[row] for layer in divergences],
        )
        for row, each in enumerate(places)
    ]


def _logprobs(model: Any, states: torch.Tensor) -> torch.Tensor:
    """Return what states (B, D) say of the next token, (B, V)."""
    logits = model.get_output_embeddings()(anatomy.final_norm(model, "decoder")(states)).float()
    expect_finite(model, "logits", finite=bool(logits.isfinite().all()))
    return logits.log_softmax(1)


@torch.inference_mode()
def _states(model: Any, places: Sequence[Place]) -> list[torch.Tensor]:
    """Return the decoder's states (B, D) at the place of each row, before the final norm: of the embeddings, then of every block."""
    found: list[torch.Tensor] = []
    with captured(model, "decoder", "states", lambda states: states) as layers:
        lengths = read_pairs(model, [(each.prompt, each.answer) for each in places])
    for states in layers:
        rows = torch.arange(len(places), device=states.device)
        found.append(states[rows, torch.tensor(lengths, device=states.device) - 1])
    return found
