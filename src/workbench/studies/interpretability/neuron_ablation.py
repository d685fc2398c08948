"""Does a language need its neurons? The neurons of one language are switched off, and every language is tested on other meanings.

The outcome is the change of the loss, in nats per token, in a matrix of ablated × tested languages; its diagonal minus the rest is the
selectivity. The control are as many neurons of the same blocks, active as often and as strongly in texts of the language.
"""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from workbench.errors import BadInput
from workbench.inference.scoring import score
from workbench.models import Model
from workbench.models.interventions import Intervention
from workbench.studies.interpretability.averaging import mean_by
from workbench.studies.interpretability.concepts import Concepts
from workbench.studies.interpretability.neurons import LanguageNeurons, into
from workbench.studies.interpretability.translations import split

CONDITIONS = ("language", "random")
DIFFERENCE, ALL = "language - random", "all"
Value = Literal["zero", "mean"]


@dataclass(frozen=True)
class _Passage:
    """A text to be scored, its meaning's cluster, and the language that is tested with it; the prompt may be empty."""

    cluster: str
    tested: str
    source: str
    target: str
    prompt: str
    text: str


def ablate(
    model: Model,
    concepts: Concepts,
    found: LanguageNeurons,
    *,
    value: Value = "zero",
    controls: int = 5,
    limit: int = 48,
    seed: int = 0,
) -> pd.DataFrame:
    """Switch off the neurons of each language in turn, and score texts in every language.

    A language is tested where the neurons are: as the text that a decoder reads alone (BLOOM), as the source of a translation (mT5's
    encoder), or as its target (neurons chosen in answers); the other side of the translation is each other language in turn.

    Args:
        found: As `language_neurons` returns them for these concepts, or with others `given`.
        value: What the neurons are set to. "zero", as published: the value of a neuron that is off, and no neuron is far from
            it in other languages if it serves one alone. "mean": the mean of its means in all languages, which keeps what it adds everywhere.
        controls: Draws of the random neurons; see `selectivity`.
        limit: Meanings, out of those to ask about.
        seed: Of what is drawn, and of the halves, as for `language_neurons`.

    Returns:
        One row per ablated language, draw and text: ablated, condition, draw, neurons (how many), active (the share of tokens at which
        they are, in the ablated language), tested, source, target, cluster (the sentence, or the concept where there is one sentence),
        tokens, before and loss (its change), in nats per token.

    Raises:
        BadInput: meanings that the neurons were chosen on, an unknown value, no control, or a text of a single token, of which
            a decoder alone predicts nothing.
    """
    if value not in ("zero", "mean") or controls < 1:
        raise BadInput(f"value={value!r}, controls={controls}; value is zero or mean, controls 1 or more")
    passages = _passages(model, concepts, found, limit, seed)
    before, tokens = _losses(model, passages)
    about = pd.DataFrame([vars(one) for one in passages]).drop(columns=["prompt", "text"])
    about = about.assign(tokens=tokens, before=before)
    drawn = [found.controls(seed=seed + number) for number in range(controls)]
    rows = []
    for condition, draw, neurons in [
        ("language", 0, found),
        *(("random", n, one) for n, one in enumerate(drawn)),
    ]:
        for code in found.languages:
            made = list(_interventions(neurons, code, value))
            after = _losses(model.intervened(*made), passages)[0] if made else before
            size, active = len(neurons.by_language[code]), _activity(neurons, code)
            part = about.assign(ablated=code, condition=condition, draw=draw, neurons=size, active=active)
            rows.append(part.assign(loss=after - before))
    table = pd.concat(rows, ignore_index=True)
    first = ["ablated", "condition", "draw", "neurons", "active"]
    return table[[*first, *(name for name in table.columns if name not in first)]]


def matrix(table: pd.DataFrame) -> pd.DataFrame:
    """Return the mean loss by condition, ablated and tested language, with 95 % intervals over meanings, as `mean_by`."""
    return mean_by(table, ["condition", "ablated", "tested"], "loss")


def selectivity(table: pd.DataFrame) -> pd.DataFrame:
    """Return by how much the ablated language loses more than the others, with 95 % intervals over meanings.

    The interval holds for this model and these neurons, and any neurons do something, even in random weights: of 40 random BLOOMs, 9
    have an interval of "all" above 0. Whether a language needs *its* neurons is for `p`, the rank of their selectivity among
    that of the draws of random neurons: (1 + draws that reach it) / (1 + draws). It takes 19 draws for .05. Of the same models 3 of 40
    had that in "all", but 17 of 108 single languages did: a single language's p is no test at its face value.

    Returns:
        ablated (a language, or "all": their mean, without those that have no neurons), condition ("language", "random", and their
        difference), selectivity (nats per token), low, high, n, clusters, and p of the language's neurons.
    """
    table = table[table["neurons"] > 0].assign(is_own=table["tested"] == table["ablated"])
    wide = _own_minus_others(table, ["ablated", "condition", "cluster"]).unstack("condition")
    wide[DIFFERENCE] = wide["language"] - wide["random"]
    every = wide.groupby("cluster", sort=False).mean().assign(ablated=ALL).reset_index()
    long = pd.concat([wide.reset_index(), every], ignore_index=True).melt(
        ["ablated", "cluster"], [*CONDITIONS, DIFFERENCE], var_name="condition", value_name="selectivity"
    )
    found = mean_by(long, ["ablated", "condition"], "selectivity")
    return found.merge(_ranks(table), how="left", on=["ablated", "condition"])


def _own_minus_others(table: pd.DataFrame, keys: list[str]) -> "pd.Series[float]":
    means = table.groupby([*keys, "is_own"], sort=False)["loss"].mean().unstack("is_own")
    return means[True] - means[False]


def _ranks(table: pd.DataFrame) -> pd.DataFrame:
    """Return the p of each language's neurons, and of their mean, among the draws of the control."""
    draws = _own_minus_others(table, ["ablated", "condition", "draw"])
    both = {
        **dict(iter(draws.groupby("ablated", sort=False))),
        ALL: draws.groupby(["condition", "draw"]).mean(),
    }
    rows = []
    for code, each in both.items():
        own, random_ones = (each.xs(kind, level="condition").to_numpy() for kind in CONDITIONS)
        rows.append((code, "language", (1 + (random_ones >= own[0]).sum()) / (1 + len(random_ones))))
    return pd.DataFrame(rows, columns=["ablated", "condition", "p"])


def _interventions(neurons: LanguageNeurons, code: str, value: Value) -> Iterator[Intervention]:
    """Yield one ablation for each block that has neurons of the language."""
    means = neurons.mean.mean(axis=0) * (value == "mean")
    for layer in sorted({layer for layer, _ in neurons.by_language[code]}):
        own = tuple(neuron for block, neuron in neurons.by_language[code] if block == layer)
        array = means[layer - 1, list(own)]
        yield Intervention(kind="ablate", layers=(layer,), array=array, stack=neurons.stack, neurons=own)


def _activity(neurons: LanguageNeurons, code: str) -> float:
    chosen = neurons.by_language[code]
    shares = neurons.active[neurons.languages.index(code)]
    return float(np.mean([shares[layer - 1, neuron] for layer, neuron in chosen])) if chosen else 0.0


def _passages(
    model: Model, concepts: Concepts, found: LanguageNeurons, limit: int, seed: int
) -> list[_Passage]:
    """Return what is scored: the same meanings in every tested language."""
    _, left = split(concepts, seed)
    if known := [one for one in left if one in found.meanings]:
        raise BadInput(
            f"the neurons were chosen on {len(known)} of the meanings to be tested; take the same concepts and seed as `language_neurons` had"
        )
    meanings = _spread(left, len(concepts.frames) > 1, limit, seed)
    alone = found.reading == "texts" and not model.is_encoder_decoder
    space = "" if alone or model.is_encoder_decoder else " "
    passages = []
    for code in concepts.languages:
        for (frame, concept), way in into(concepts.languages, meanings, code):
            source, target = way if found.reading == "answers" else way[::-1]
            prompt = "" if alone else concepts.prompt(frame, concept, source, target).text
            text = concepts.text(frame, concept, code if alone else target)
            cluster = frame if len(concepts.frames) > 1 else concept
            ends = ("", "") if alone else (source, target)
            passages.append(_Passage(cluster, code, *ends, prompt, space + text))
    return passages


def _spread(
    meanings: Sequence[tuple[str, str]], by_frame: bool, limit: int, seed: int
) -> list[tuple[str, str]]:
    """Return up to `limit` meanings, drawn from each sentence in turn."""
    drawn = random.Random(f"ablation {seed}").sample(meanings, len(meanings))
    seen: Counter[str] = Counter()
    turns = []
    for one in drawn:
        turns.append((seen[one[0]], one))
        seen[one[0]] += by_frame
    return [one for _, one in sorted(turns, key=lambda turn: turn[0])][:limit]


def _losses(model: Model, passages: Sequence[_Passage]) -> tuple[np.ndarray, list[int]]:
    """Return minus the mean log-probability of each text's tokens, in nats, and their number."""
    prompts = [one.prompt for one in passages] if passages[0].prompt else None
    found = score(model, [one.text for one in passages], prompts=prompts, progress=False)
    known = [[each for each in one.logprobs if each is not None] for one in found]
    if single := [one.text for one, each in zip(passages, known, strict=True) if not each]:
        raise BadInput(
            f"the text {single[0]!r} is a single token, of which a decoder alone predicts nothing; choose neurons with reading='answers'"
        )
    return np.array([-np.mean(each) for each in known]), [len(each) for each in known]
