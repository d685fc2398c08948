"""Patching a concept from one prompt into another, layer by layer: what carries the concept, and what the language of the answer?

The source prompt asks to translate concept c1 from language A to B, the target prompt c2 from C to D. States of the source
at one place and layer replace those of the target, and the words of a closed set are scored: four concepts, in B and in D.
Places: the tokens of the concept's word (in mT5 the encoder's); the place that predicts the answer (BLOOM: the last token of the
prompt, which includes the answer up to that word; mT5: the decoder's start); and what mT5's decoder reads there from the encoder.
If c1 comes out in D, the place carries the concept apart from the language; if in B, both.

Source: Dumas et al. 2024 (arXiv:2411.08745). The choice of controls after Zhang & Nanda 2023 (arXiv:2309.16042): a patched state
can act through directions that the model does not use otherwise (arXiv:2311.17030), so that an effect alone is no evidence.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd

from workbench.errors import BadInput
from workbench.inference.token_states import token_states
from workbench.models import Model
from workbench.models.interventions import Intervention
from workbench.models.requests import Stack
from workbench.studies.interpretability.averaging import mean_by
from workbench.studies.interpretability.concept_pairs import Pair, concept_pairs
from workbench.studies.interpretability.concepts import (
    Concepts,
    Prompt,
    answer_scores,
    log_sum,
    normalised,
    token_places,
)

Place = Literal["concept", "answer", "cross-attention"]
PLACES: tuple[Place, ...] = ("concept", "answer", "cross-attention")
ROLES = ("source", "target", "unrelated")
CONDITIONS = ("patched", "unrelated", "random", "other layer")
MEASURES = ("concept_shift", "language_shift")


def patch(
    model: Model,
    concepts: Concepts,
    *,
    source: tuple[str, str],
    target: tuple[str, str],
    pairs: int | Sequence[Pair] = 12,
    places: Sequence[Place] = PLACES[:2],
    layers: Sequence[int] | None = None,
    conditions: Sequence[str] = CONDITIONS,
    seed: int = 0,
) -> pd.DataFrame:
    """Patch source prompts into target prompts at every place and layer, and score the closed set of words.

    Conditions: `patched`; `unrelated`, the state of the same prompt with a third concept; `random`, the target's own state plus a
    random vector as long as the patch's change; `other layer`, the source's state of the embeddings, or for these of the
    last layer. The languages can be exchanged by a second call with `source` and `target` exchanged.

    Args:
        source: The languages A and B of the source prompts.
        target: C and D of the target prompts; D other than B.
        pairs: As `concept_pairs` returns them, or their number.
        layers: 0 is the embeddings' output; by default all. Of "cross-attention" they are the blocks, from 1 on.

    Returns:
        One row per pair, place, layer and condition: place, layer, condition, pair, cluster; concept_shift (nats by which
        the log-odds of c1 against c2, each in D, rise), language_shift (nats by which those of B against D rise),
        possible_shift (the concept_shift of the target prompt with c1 in the place of c2), and p_c1_d, p_c2_d, p_c1_b, p_c2_b:
        the probability of each in the closed set; `before_…`: the same without a patch.

    Raises:
        BadInput: B is D, an unknown language or place, cross-attention in a decoder-only model; or as `token_places`.
    """
    chosen = list(concept_pairs(concepts, limit=pairs, seed=seed) if isinstance(pairs, int) else pairs)
    _expect(concepts, source, target, places)
    targets = [(pair.target_frame, pair.target_concept) for pair in chosen]
    if len({*targets}) < len(targets):
        raise BadInput("two pairs have the same target prompt; give each target sentence and concept once")
    design = _Design(model, concepts, source, target, chosen, seed)
    before = design.scores(model)
    clean = design.scores(model, "clean")
    rows = []
    for place in places:
        states = {name: design.states(name, place) for name in ROLES}
        count = len(next(iter(states["source"])))
        for layer in range(_first(place), count) if layers is None else layers:
            for condition in conditions:
                arrays = design.arrays(states, condition, layer, _first(place))
                patched = model.intervened(*design.interventions(place, layer, arrays))
                after = design.scores(patched)
                measured = pd.DataFrame(_measured(design, before, after, clean))
                rows.append(measured.assign(place=place, layer=layer, condition=condition))
    columns = ["place", "layer", "condition", "pair", "cluster"]
    table = pd.concat(rows, ignore_index=True)
    return table[[*columns, *(name for name in table.columns if name not in columns)]]


def effects(table: pd.DataFrame, *, measure: str = "concept_shift") -> pd.DataFrame:
    """Return the mean of a measure by place, layer and condition, with a 95 % interval over pairs of concepts.

    Columns: place, layer, condition, the measure, low, high, n, clusters, share (of the possible shift of the concept).
    """
    found = mean_by(table, ["place", "layer", "condition"], measure)
    return found.assign(share=found[measure] / table["possible_shift"].mean())


def answered(table: pd.DataFrame) -> pd.DataFrame:
    """Return the mean probability of c1 and c2 in D and in B by place, layer and condition, and before any patch ("none")."""
    names = [name for name in table.columns if name.startswith("p_")]
    keys = ["place", "layer", "condition"]
    after = table.groupby(keys, sort=False)[names].mean().reset_index()
    plain = table[[*keys, *(f"before_{name}" for name in names)]]
    none = plain[plain["condition"] == plain["condition"].iloc[0]].assign(condition="none")
    none.columns = [name.removeprefix("before_") for name in none.columns]
    return pd.concat([none.groupby(keys, sort=False)[names].mean().reset_index(), after], ignore_index=True)


@dataclass(frozen=True)
class _Design:
    """All prompts of a study and their candidates."""

    model: Model
    concepts: Concepts
    source: tuple[str, str]
    target: tuple[str, str]
    pairs: Sequence[Pair]
    seed: int

    @cached_property
    def prompts(self) -> dict[str, list[Prompt]]:
        """The prompts of each role; a decoder-only model's go on with the answer up to the concept's word."""
        return {role: [self._prompt(role, pair) for pair in self.pairs] for role in (*ROLES, "clean")}

    def _prompt(self, role: str, pair: Pair) -> Prompt:
        is_source = role in ("source", "unrelated")
        languages, frame = (self.source, pair.source_frame) if is_source else (self.target, pair.target_frame)
        concept = {"unrelated": pair.other, "target": pair.target_concept}.get(role, pair.source_concept)
        prompt = self.concepts.prompt(frame, concept, *languages)
        begun = self.concepts.parts(frame, concept, languages[1])[0].rstrip()
        is_begun = begun and not self.model.is_encoder_decoder
        return replace(prompt, text=f"{prompt.text} {begun}") if is_begun else prompt

    def scores(self, model: Model, role: str = "target") -> np.ndarray:
        """Return log P of each candidate, (N, 4, 2): of c1, c2, the other and the bystander, in B and in D."""
        prompts = [one.text for one in self.prompts[role]]
        return answer_scores(model, prompts, [self._candidates(pair) for pair in self.pairs])

    def _candidates(self, pair: Pair) -> list[list[str]]:
        concepts = (pair.source_concept, pair.target_concept, pair.other, pair.bystander)
        return [
            [self._candidate(pair, concept, code) for code in (self.source[1], self.target[1])]
            for concept in concepts
        ]

    def _candidate(self, pair: Pair, concept: str, code: str) -> str:
        """Return the target's answer with the word of a language, from that word on if the prompt has what is before it."""
        before, _, after = self.concepts.parts(pair.target_frame, concept, self.target[1])
        word = self.concepts.words[concept][code]
        if self.model.is_encoder_decoder:
            return before + word + after
        return (" " if not before or before[-1].isspace() else "") + word + after

    def stack(self, place: Place) -> Stack:
        return "encoder" if place == "concept" and self.model.is_encoder_decoder else "decoder"

    def positions(self, role: str, place: Place) -> list[tuple[int, ...]]:
        """Return the places that are read or patched; of a word, as many of its last tokens as all prompts of the pair have."""
        if place != "concept":
            return [(0 if self.model.is_encoder_decoder else -1,)] * len(self.pairs)
        of_pair = zip(*self._words.values(), strict=True)
        lengths = [min(map(len, found)) if self.model.is_encoder_decoder else 1 for found in of_pair]
        return [one[-length:] for one, length in zip(self._words[role], lengths, strict=True)]

    @cached_property
    def _words(self) -> dict[str, list[tuple[int, ...]]]:
        """The places of the concept's tokens in the prompts of each role."""
        return {role: token_places(self.model, self.prompts[role]) for role in ROLES}

    def states(self, role: str, place: Place) -> list[np.ndarray]:
        """Return the states (L+1, P, D) at a place of each prompt; of cross-attention, which the embeddings have not, layer 0 is 0."""
        texts = [one.text for one in self.prompts[role]]
        positions = self.positions(role, place)
        found = token_states(
            self.model, texts, positions=positions, stack=self.stack(place), of=_part(place), progress=False
        ).arrays
        return [np.pad(each, ((_first(place), 0), (0, 0), (0, 0))) for each in found]

    def arrays(
        self, states: Mapping[str, list[np.ndarray]], condition: str, layer: int, first: int
    ) -> Iterator[np.ndarray]:
        """Yield what replaces the target's states in each prompt, (P, D)."""
        draw = np.random.default_rng(self.seed)
        for source, target, unrelated in zip(
            states["source"], states["target"], states["unrelated"], strict=True
        ):
            change = source[layer] - target[layer]
            noise = draw.standard_normal(change.shape)
            noise *= np.linalg.norm(change, axis=-1, keepdims=True) / np.linalg.norm(
                noise, axis=-1, keepdims=True
            )
            yield {
                "patched": source[layer],
                "unrelated": unrelated[layer],
                "random": (target[layer] + noise).astype(np.float32),
                "other layer": source[first if layer > first else -1],
            }[condition]

    def interventions(self, place: Place, layer: int, arrays: Iterator[np.ndarray]) -> list[Intervention]:
        prompts, positions = self.prompts["target"], self.positions("target", place)
        return [
            Intervention(
                kind="patch",
                layers=(layer,),
                array=array[None],
                stack=self.stack(place),
                positions=where,
                prompts=(prompt.text,),
                of=_part(place),
            )
            for prompt, where, array in zip(prompts, positions, arrays, strict=True)
        ]


def _part(place: Place) -> Literal["states", "cross_attention"]:
    return "cross_attention" if place == "cross-attention" else "states"


def _first(place: Place) -> int:
    """Return the first layer that a place has."""
    return int(place == "cross-attention")


def _measured(
    design: _Design, before: np.ndarray, after: np.ndarray, clean: np.ndarray
) -> dict[str, Sequence[object]]:
    """Return the measures of each pair, from scores (N, 4, 2)."""
    b, d = 0, 1
    plain, patched, wanted = (normalised(one) for one in (before, after, clean))

    def concept(scores: np.ndarray) -> np.ndarray:
        return scores[:, 0, d] - scores[:, 3, d]

    def language(scores: np.ndarray) -> np.ndarray:
        return log_sum(scores[:, :, b], -1) - log_sum(scores[:, :, d], -1)

    cells = {"p_c1_d": (0, d), "p_c2_d": (1, d), "p_c1_b": (0, b), "p_c2_b": (1, b)}
    return {
        "pair": list(range(len(design.pairs))),
        "cluster": [pair.cluster for pair in design.pairs],
        "concept_shift": list(concept(patched) - concept(plain)),
        "language_shift": list(language(patched) - language(plain)),
        "possible_shift": list(concept(wanted) - concept(plain)),
        **{name: list(np.exp(patched[:, row, column])) for name, (row, column) in cells.items()},
        **{f"before_{name}": list(np.exp(plain[:, row, column])) for name, (row, column) in cells.items()},
    }


def _expect(
    concepts: Concepts, source: tuple[str, str], target: tuple[str, str], places: Sequence[Place]
) -> None:
    unknown = sorted({*source, *target} - {*concepts.languages})
    if unknown or source[1] == target[1]:
        raise BadInput(
            f"source={source}, target={target}; both are pairs of languages out of {', '.join(concepts.languages)}, and answers "
            "are asked for in different ones"
        )
    if odd := [one for one in places if one not in PLACES]:
        raise BadInput(f"no place {odd[0]!r}; choose from: {', '.join(PLACES)}")
