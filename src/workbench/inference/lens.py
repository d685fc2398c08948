"""What each layer says of the next token (the logit lens), cached in the store.

Layer 0 is the embeddings' output, L the last block's, whose reading is the model's own prediction. The state is taken where the
answer's next token is predicted: at the last token of a decoder's prompt and answer, or in the decoder behind an encoder.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from workbench.errors import BadInput
from workbench.inference import cached
from workbench.inference.cached import RequestType
from workbench.models import Model, expect_model
from workbench.models.affine_lens import AffineLens
from workbench.models.arguments import texts as read_texts
from workbench.models.arguments import whole
from workbench.models.engines import OpenEngine
from workbench.models.requests import Lens, ToLens
from workbench.store import validation


@dataclass(frozen=True)
class LensReading:
    """What L+1 layers say of the next token after one prompt, in nats.

    `logprobs`, shape (L+1, T), are of `tokens`, the distinct first tokens of the words; `words` has for each word the places of its
    first tokens, with and without a space before it (a token that is only a space is left out). `entropies` has shape (L+1,), and so has
    `kl`, the divergence KL(last layer ‖ layer); `top` the likeliest tokens of each layer, with their log-probabilities, best first.
    """

    tokens: tuple[str, ...]
    words: tuple[tuple[int, ...], ...]
    logprobs: np.ndarray
    entropies: np.ndarray
    top: tuple[tuple[tuple[str, float], ...], ...]
    kl: np.ndarray

    def mass(self, words: Sequence[int]) -> np.ndarray:
        """Return the probability by layer, shape (L+1,), that the next token begins one of these words (by number)."""
        places = sorted({place for word in words for place in self.words[word]})
        return np.asarray(np.exp(self.logprobs[:, places]).sum(axis=1))


def lens(
    model: Model,
    prompts: Iterable[str],
    words: Sequence[Sequence[str]],
    *,
    answers: Iterable[str] | None = None,
    affine: AffineLens | None = None,
    top: int = 5,
    batch_size: int = 32,
    progress: bool = True,
) -> list[LensReading]:
    """Return what each layer says of the next token after each prompt: final norm and head, applied to every layer's output.

    Args:
        words: For each prompt, words that may come next, of which the first tokens are looked up.
        answers: For each prompt the beginning of its answer, exactly as written (for BLOOM, begin it with a space where one belongs);
            by default nothing, so that the answer's first token is predicted.
        affine: Maps of the states into the last layer's basis, applied before final norm and head (`affine_lens.fit` of the studies).
        top: Number of likeliest tokens to return for each layer.

    Raises:
        BadInput: different numbers of prompts, words and answers, an empty word, an engine without a lens, a prompt beyond the
            context, or logits that are not finite.
        NotReachable, StoreFailed: as for `generate`.

    Source: the logit lens, nostalgebraist 2020; as used for languages, Wendler et al. 2024 (arXiv:2402.10588); with affine maps,
    Belrose et al. 2023 (arXiv:2303.08112).
    """
    expect_model(model)
    asked = read_texts("prompts", prompts, one="prompt")
    begun = [""] * len(asked) if answers is None else read_texts("answers", answers, one="answer", empty=True)
    given = [tuple(read_texts("words", each, one="word")) for each in words]
    if not len(asked) == len(begun) == len(given):
        raise BadInput(
            f"got {len(asked)} prompts, {len(given)} lists of words and {len(begun)} answers; give as many of each"
        )
    if not all(given):
        raise BadInput(f"prompt {given.index(())} has no words; give at least one")
    top, batch_size = whole("top", top), whole("batch_size", batch_size)
    kind = RequestType(
        capability="lens",
        settings={"top": top} | ({} if affine is None else {"affine": affine.digest}),
        expect=validation.lens,
        encode=lambda found: {**vars(found)},
        decode=_decode,
        compute=lambda missing: cast(OpenEngine, model.engine).read_lens(missing, top, batch_size, affine),
    )
    requests = [ToLens(*each) for each in zip(asked, begun, given, strict=True)]
    return cached.answer(model, kind, requests, batch=batch_size, progress=progress).values


def _decode(value: dict[str, list[Any]]) -> LensReading:
    found = Lens(**value)
    return LensReading(
        tuple(found.tokens),
        tuple(map(tuple, found.words)),
        np.array(found.logprobs, dtype=float),
        np.array(found.entropies, dtype=float),
        tuple(tuple((name, logprob) for name, logprob in layer) for layer in found.top),
        np.array(found.kl, dtype=float),
    )
