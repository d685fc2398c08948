"""The cost of an evaluation before it is run, from the plan and the catalogue alone."""

import os
from dataclasses import dataclass

from workbench import family
from workbench.errors import UnknownName
from workbench.models import Model
from workbench.models.memory import bytes_of_weights
from workbench.studies.evaluation.planning import EvaluationPlan


@dataclass(frozen=True)
class Forecast:
    """The cost of an evaluation: choices to score or answers to generate (requests), bytes of the weights alone (0: unknown), this machine's memory.

    `characters` counts each choice with its prompt; the time is roughly proportional to it. The memory of GPUs is not
    considered.
    """

    prompts: int
    requests: int
    characters: int
    weights: int
    memory: int


def forecast(model: Model, plan: EvaluationPlan) -> Forecast:
    """Return what evaluating this model costs; no weights are read."""
    try:
        packed = model.quantization if model.quantization in family.BYTES_PER_QUANTIZED else None
        weights = family.memory_needed(family.find(model.name), model.dtype, packed)
    except UnknownName:
        weights = bytes_of_weights(model.identity, model.dtype, model.quantization)
    answers = ((item, item.choices or (item.target,)) for item in plan.items)
    scored = [len(item.prompt) + len(text) for item, texts in answers for text in texts]
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Forecast(len(plan.items), len(scored), sum(scored), weights, memory)


def describe(expected: Forecast) -> str:
    """Return a forecast as one line of text."""
    size = f"{expected.weights / 1e9:.3g} GB of weights" if expected.weights else "weights of unknown size"
    short = " (too little)" * (expected.weights > expected.memory)
    return (
        f"{expected.prompts:,} prompts, {expected.requests:,} choices, {expected.characters:,} characters; "
        f"{size}, this machine has {expected.memory / 1e9:.3g} GB of memory{short}"
    )
