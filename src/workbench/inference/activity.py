"""How often and how strongly a model's neurons are active over texts, cached in the store as one answer for a group of texts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from workbench.errors import BadInput
from workbench.inference import cached
from workbench.inference.arrays import from_npy, to_npy
from workbench.inference.cached import RequestType
from workbench.models import Model, expect_model
from workbench.models.arguments import texts as read_texts
from workbench.models.arguments import whole
from workbench.models.engines import OpenEngine
from workbench.models.requests import ToCount
from workbench.store import arrays


@dataclass(frozen=True)
class Activity:
    """Means over the tokens of a group of texts, of the n MLP neurons in each of the L blocks of a stack; float32, (L, n) each.

    `active` is the share of tokens at which a neuron is active, that is, its GELU's input above 0; `mean` its mean value, which the
    block's second matrix reads (in mT5 times the linear half of the gate), and `strength` the root of its mean square.
    """

    active: np.ndarray
    mean: np.ndarray
    strength: np.ndarray


def neuron_activity(
    model: Model,
    texts: Sequence[Iterable[str]],
    *,
    prompts: Sequence[Iterable[str]] | None = None,
    batch_size: int = 32,
    progress: bool = True,
) -> list[Activity]:
    """Return the activity over each group of texts, each group one answer in the store of 12 · L · n bytes (5.9 MB at bloomz-7b1).

    Without prompts a text is read alone by the stack that reads prompts (an encoder reads its end token too). With prompts, each text is
    scored after its prompt as by `score`, and the decoder's places count from the one that predicts the text's first token to its last.
    No activation of a single token is kept. In float32 the batch moves a share only where a GELU's input is 0 up to rounding.

    Args:
        texts: Groups, such as one for each language.
        prompts: As many in each group as it has texts.

    Raises:
        BadInput: an empty group or text, another number of prompts than of texts, a text beyond the context, another architecture than
            BLOOM and mT5, or activations that are not finite.
        NotReachable, StoreFailed: as for `generate`.
    """
    expect_model(model)
    model.spec.key("intervene")
    groups = [tuple(read_texts("texts", each, one="text")) for each in texts]
    before: list[tuple[str, ...] | None] = [None] * len(groups)
    if prompts is not None:
        before = [tuple(read_texts("prompts", each, one="prompt")) for each in prompts]
    sizes = [len(group) for group in groups]
    if not sizes or not all(sizes) or (prompts is not None and [len(each or ()) for each in before] != sizes):
        raise BadInput(
            f"groups of {sizes} texts, and of {[len(each or ()) for each in before]} prompts; give texts in every group, and a prompt "
            "for each or none"
        )
    batch_size = whole("batch_size", batch_size)
    kind = RequestType(
        capability="states",
        settings={"of": "activity"},
        expect=arrays.token_states,
        encode=to_npy,
        decode=from_npy,
        compute=lambda missing: cast(OpenEngine, model.engine).read_activity(missing, batch_size),
    )
    asked = [ToCount(*each) for each in zip(groups, before, strict=True)]
    found = cached.answer(model, kind, asked, batch=batch_size, progress=progress)
    return [Activity(each[:, 0], each[:, 1], np.sqrt(each[:, 2])) for each in found.values]
