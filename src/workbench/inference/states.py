"""Hidden states by layer, one vector per text, cached in the store.

Layer 0 is the embedding output (BLOOM: after its layer norm), layers 1…L are the blocks; the last one is taken after the
final norm, as in transformers. An encoder-decoder has two stacks, which are read separately: the encoder over the text, and
the decoder at its start token with the text in the encoder.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import numpy as np

from workbench.errors import BadInput
from workbench.inference import cached
from workbench.inference.arrays import from_npy, to_npy
from workbench.inference.cached import RequestType
from workbench.models import Model, expect_model
from workbench.models.arguments import texts as read_texts
from workbench.models.arguments import whole
from workbench.models.requests import Pooling, Stack, StateOptions
from workbench.store import arrays

POOLINGS, STACKS = get_args(Pooling), get_args(Stack)
_PRECISIONS = ("float32", "float16")


@dataclass(frozen=True)
class States:
    """Hidden states of N texts: `array` is float32 of shape (N, L+1, D); `stack` is the one that was read."""

    array: np.ndarray
    stack: Stack
    pooling: Pooling

    @property
    def layers(self) -> int:
        """The number of layers, counting the embeddings as one (L+1)."""
        return self.array.shape[1]


@dataclass(frozen=True)
class _Text:
    text: str


def hidden_states(
    model: Model,
    texts: Iterable[str],
    *,
    stack: Stack | None = None,
    pooling: Pooling = "mean",
    precision: Literal["float32", "float16"] = "float32",
    batch_size: int = 32,
    batch_tokens: int | None = None,
    progress: bool = True,
) -> States:
    """Return the states of each text at every layer, pooled over its tokens; no special tokens are added.

    `token_states` returns those of single tokens.

    Args:
        stack: "encoder" or "decoder"; by default the stack that reads the text.
        pooling: "mean" over tokens, "weighted" by position (later tokens of a decoder have seen more context), or "last".
            The decoder of an encoder-decoder has a single token here, so all three are equal.
        precision: in which they are stored. A text takes 4 · (L+1) · D bytes in the store, and half of that in float16, which
            keeps three digits: 2,200 texts at bloomz-7b1 take 1.1 GB. They are pooled on the device, and returned as float32.
        batch_size, batch_tokens: At most so many texts, and tokens with padding, are read at once, but at least one text.

    Raises:
        BadInput: no texts, a text that is empty, not a string or beyond the context, the encoder of a decoder-only model, or
            states that are not finite (in float16: beyond 65,504).
        NotReachable, StoreFailed: as for `generate`.
    """
    expect_model(model)
    reads = "encoder" if model.is_encoder_decoder else "decoder"
    reading = StateOptions(stack or reads, pooling)  # type: ignore[arg-type]
    if reading.stack == "encoder" and not model.is_encoder_decoder:
        raise BadInput(f"{model.name} is decoder-only and has no encoder; use stack='decoder'")
    if pooling not in POOLINGS or reading.stack not in STACKS:
        raise BadInput(
            f"pooling={pooling!r}, stack={stack!r}; pooling is one of {', '.join(POOLINGS)}, stack one of {', '.join(STACKS)}; "
            "token_states returns the states of single tokens"
        )
    if precision not in _PRECISIONS:
        raise BadInput(f"precision={precision!r}; choose one of: {', '.join(_PRECISIONS)}")
    asked = [_Text(text) for text in read_texts("texts", texts, one="text")]
    batch_size = whole("batch_size", batch_size)
    most = None if batch_tokens is None else whole("batch_tokens", batch_tokens)
    if not asked:
        raise BadInput("texts is empty; give at least one text")
    kind = RequestType(
        capability="states",
        settings={"side": reading.stack, "pooling": reading.pooling}  # keys of stored answers
        | ({} if precision == "float32" else {"precision": precision}),
        expect=arrays.pooled_states,
        encode=partial(to_npy, precision=precision),
        decode=from_npy,
        compute=lambda missing: model.engine.read_states(
            [m.text for m in missing], reading, batch_size, most
        ),
    )
    found = cached.answer(model, kind, asked, batch=batch_size, progress=progress)
    return States(np.stack(found.values), reading.stack, pooling)
