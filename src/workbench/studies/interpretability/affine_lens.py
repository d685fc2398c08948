"""A second opinion to the logit lens: each layer's states are mapped into the last layer's basis before they are read.

The map of a layer is the ridge regression of what the later blocks add on the layer's state, in closed form; the strongest penalty leaves
the logit lens itself. Per layer the penalty with the least divergence from the model's output is taken, on pairs that the regression
has not seen. Maps trained on that divergence by gradient descent (the tuned lens) can only be closer to it; an affine map says what
can be predicted from a layer, which may be more than what the layer holds: it is fitted to know the answer.

Source: Belrose et al. 2023 (arXiv:2303.08112).
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import pandas as pd

from workbench.errors import BadInput
from workbench.inference.lens import lens
from workbench.inference.token_states import token_states
from workbench.models import Model
from workbench.models.affine_lens import AffineLens
from workbench.studies.interpretability.concepts import Concepts

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)  # relative to the mean variance of the states


@dataclass(frozen=True)
class Fitted:
    """An affine lens and how close it came on the held-out pairs.

    `divergence` has a row per layer: layer, logit and affine (mean KL from the model's output, nats), and the penalty (inf: the logit
    lens was better than every map).
    """

    lens: AffineLens
    divergence: pd.DataFrame


def balanced_pairs(concepts: Concepts, *, each: int = 200, seed: int = 0) -> list[tuple[str, str]]:
    """Return requests for translations with their right answers, equally many into each language, from the others in turn.

    Take sentences or concepts that are not asked about, as `translations.split` divides them.
    """
    draw = random.Random(f"affine lens {seed}")
    all_of = [(frame, concept) for frame in sorted(concepts.frames) for concept in sorted(concepts.words)]
    ways = sorted(permutations(concepts.languages, 2))
    per_way = -(-each // (len(concepts.languages) - 1))
    return [
        (concepts.prompt(*one, *way).text, concepts.text(*one, way[1]))
        for way in ways
        for one in draw.sample(all_of, min(per_way, len(all_of)))
    ]


def fit(
    model: Model,
    pairs: Sequence[tuple[str, str]],
    *,
    penalties: Sequence[float] = PENALTIES,
    held_out: float = 0.25,
    seed: int = 0,
) -> Fitted:
    """Return the affine lens of a model's decoder, fitted at all tokens of its prompts and answers (behind an encoder: of the answers).

    Args:
        pairs: Prompts and answers, the latter without a space before them; balance them over languages.
        held_out: The share of pairs, drawn, on which the penalty is chosen: at a drawn word of each answer.

    Raises:
        BadInput: fewer than eight pairs, or no penalty above 0; or as `token_states`.
    """
    if len(pairs) < 8 or not penalties or min(penalties) <= 0:
        raise BadInput(
            f"{len(pairs)} pairs and penalties={list(penalties)}; give eight pairs or more, and numbers above 0"
        )
    draw = random.Random(f"fit {seed}")
    order = draw.sample(list(pairs), len(pairs))
    space = "" if model.is_encoder_decoder else " "
    size = max(2, round(len(order) * held_out))
    prompts, answers = zip(*[(prompt, space + answer) for prompt, answer in order[size:]], strict=True)
    states = np.concatenate(
        token_states(model, prompts, answers=answers, stack="decoder", progress=False).arrays, axis=1
    )
    begun = [_begun(space, answer, draw) for _, answer in order[:size]]
    asked = [prompt for prompt, _ in order[:size]]
    logit = _divergence(model, asked, begun, None)[:-1]
    depth, width = len(logit), states.shape[-1]
    matrices, offsets = np.tile(np.eye(width, dtype=np.float32), (depth, 1, 1)), np.zeros((depth, width))
    least, taken = logit.copy(), np.full(depth, np.inf)
    for penalty in penalties:  # one after the other: the maps of a 7B model take 2 GB
        candidate = _ridge(states, penalty)
        found = _divergence(model, asked, begun, candidate)[:-1]
        better = found < least
        matrices[better], offsets[better] = candidate.matrices[better], candidate.offsets[better]
        least[better], taken[better] = found[better], penalty
    table = pd.DataFrame({"layer": range(depth), "logit": logit, "affine": least, "penalty": taken})
    return Fitted(AffineLens(matrices, offsets), table)


def _begun(space: str, answer: str, draw: random.Random) -> str:
    """Return the answer up to a drawn word, possibly none of it."""
    words = answer.split(" ")
    part = " ".join(words[: draw.randrange(len(words))])
    return space + part if part else ""


def _ridge(states: np.ndarray, penalty: float) -> AffineLens:
    """Return the maps of the layers before the last, from states (L+1, N, D): identity plus a penalised regression of what is added."""
    last = states[-1].astype(np.float64)
    matrices, offsets = [], []
    for layer in states[:-1].astype(np.float64):
        centre, added = layer.mean(axis=0), (last - layer).mean(axis=0)
        centred = layer - centre
        squares = centred.T @ centred
        squares[np.diag_indices_from(squares)] += penalty * max(np.trace(squares) / len(squares), 1e-12)
        slope = np.linalg.solve(squares, centred.T @ (last - layer - added)).T
        matrices.append(np.eye(len(slope)) + slope)
        offsets.append(added - slope @ centre)
    return AffineLens(np.stack(matrices), np.stack(offsets))


def _divergence(
    model: Model, prompts: Sequence[str], begun: Sequence[str], affine: AffineLens | None
) -> np.ndarray:
    """Return the mean KL from the model's output by layer, (L+1,)."""
    found = lens(
        model, prompts, [[prompt] for prompt in prompts], answers=begun, affine=affine, top=1, progress=False
    )
    return np.mean([one.kl for one in found], axis=0)
