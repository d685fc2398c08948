"""States of single tokens inside a model, cached in the store: what an `Intervention` can put into another forward pass."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast, get_args

import numpy as np

from workbench.errors import BadInput
from workbench.inference import cached
from workbench.inference.arrays import from_npy, to_npy
from workbench.inference.cached import RequestType
from workbench.models import Model, expect_model
from workbench.models.arguments import shown, whole
from workbench.models.arguments import texts as read_texts
from workbench.models.engines import OpenEngine
from workbench.models.requests import AnsweredPositions, Part, Stack, TextPositions
from workbench.store import arrays

PARTS = get_args(Part)


@dataclass(frozen=True)
class TokenStates:
    """States of the tokens of N texts: one float32 array of shape (layers, P, width) for each.

    Of "states" there are L+1 layers, from the embeddings to the last block before the final norm, of width D; of "neurons" and
    "cross_attention" L.
    """

    arrays: list[np.ndarray]
    stack: Stack
    of: Part


def token_states(
    model: Model,
    texts: Iterable[str],
    *,
    positions: Sequence[Sequence[int]] | None = None,
    answers: Iterable[str] | None = None,
    stack: Stack | None = None,
    of: Part = "states",
    batch_size: int = 32,
    progress: bool = True,
) -> TokenStates:
    """Return states of the tokens of each text at every layer; a text is read as a prompt is, by an encoder with its end token.

    Unlike `hidden_states`, which pools a text, the last layer is taken before the final norm, so that what is read can be patched in.
    A token takes 4 · (L+1) · D bytes in the store: name the positions that matter.

    Args:
        positions: for each text the tokens that are read, negative ones from its end; None: all.
        answers: for each text the beginning of an answer, exactly as written, which the decoder reads after it; positions then count the
            decoder's tokens.
        stack: "encoder" or "decoder"; by default the one that reads the text, or the decoder with answers. The decoder behind an encoder
            has its start token, and those of the answer.
        of: "states"; "neurons", the activations between the two matrices of a block's MLP; or "cross_attention", what a decoder's block
            adds from the encoder.

    Raises:
        BadInput: a text that is empty or beyond the context, a position beyond a text, a stack or part that the model lacks, another
            architecture than BLOOM and mT5, or states that are not finite.
        NotReachable, StoreFailed: as for `generate`.
    """
    expect_model(model)
    model.spec.key("intervene")
    reads: Stack = "encoder" if model.is_encoder_decoder else "decoder"
    chosen: Stack = stack or ("decoder" if answers is not None else reads)
    parts = PARTS if model.is_encoder_decoder and chosen == "decoder" else PARTS[:2]
    if chosen not in ("decoder", reads) or of not in parts or (chosen == "encoder" and answers is not None):
        raise BadInput(
            f"stack={stack!r}, of={of!r}; {model.name} has the stack{'s encoder and' if reads == 'encoder' else ''} decoder, and "
            f"of that stack one of {', '.join(parts)}; answers are read by the decoder"
        )
    given = read_texts("texts", texts, one="text")
    places = [None] * len(given) if positions is None else [_places(each) for each in positions]
    begun = [""] * len(given) if answers is None else read_texts("answers", answers, one="answer", empty=True)
    if not given or not len(places) == len(given) == len(begun):
        raise BadInput(
            f"{len(given)} texts, positions for {len(places)} and {len(begun)} answers; give texts, and as many of the others"
        )
    batch_size = whole("batch_size", batch_size)
    kind = RequestType(
        capability="states",
        settings={"side": chosen, "pooling": "none", "of": of},
        expect=arrays.token_states,
        encode=to_npy,
        decode=from_npy,
        compute=lambda missing: cast(OpenEngine, model.engine).read_token_states(
            missing, chosen, of, batch_size
        ),
    )
    asked = [
        AnsweredPositions(text, each, answer) if answer else TextPositions(text, each)
        for text, each, answer in zip(given, places, begun, strict=True)
    ]
    found = cached.answer(model, kind, asked, batch=batch_size, progress=progress)
    return TokenStates(found.values, chosen, of)


def _places(given: object) -> tuple[int, ...]:
    if not isinstance(given, Iterable) or isinstance(given, str):
        raise BadInput(f"positions of a text are {shown(given)}; give a list of whole numbers")
    found = tuple(whole("a position", each, least=None) for each in given)
    if not found:
        raise BadInput("positions of a text are empty; give at least one, or None for all")
    return found
