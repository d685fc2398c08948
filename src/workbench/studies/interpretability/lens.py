"""Through which language does an answer go? Probability by layer of the answer's word in the target and in other languages.

At the place that predicts the word, every layer is read with the logit lens (`workbench.inference.lens`). A detour over a pivot
language shows as P(pivot) above what each control gives: a placebo language that nobody asked for (frequency of foreign words), a
wrong word of the pivot (frequency of the pivot), the model before finetuning, and its twin with random weights. A lens that reads
middle layers in the last layer's basis can miss what they hold, for which `affine_lens` is a second opinion; neither can show that
something is not there.

Source: Wendler et al. 2024 (arXiv:2402.10588).
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
import pandas as pd

from workbench.errors import BadInput
from workbench.inference.lens import LensReading, lens
from workbench.models import Model
from workbench.models.affine_lens import AffineLens
from workbench.stats import bootstrap, paired_difference
from workbench.studies.interpretability.concepts import Concepts

ROLES = (
    "target",
    "pivot",
    "source",
    "placebo",
    "wrong",
)  # words of a question; "wrong": another concept in the pivot language


@dataclass(frozen=True)
class LensQuestion:
    """A request for a translation, its answer up to the concept's word, and that word in each role, in the order of `ROLES`."""

    cluster: str
    source: str
    target: str
    prompt: str
    answer: str
    words: tuple[str, ...]


def lens_questions(
    concepts: Concepts,
    *,
    pivot: str,
    sources: Sequence[str] = (),
    targets: Sequence[str] = (),
    limit: int | None = None,
    seed: int = 0,
) -> list[LensQuestion]:
    """Return requests to translate sentences with each concept, from each source into each target language.

    Placebos are drawn from the other languages of the concepts, wrong words from the other concepts.

    Args:
        pivot: The language over which answers might go; it is neither source nor target.
        sources, targets: By default all other languages.
        limit: Requests at most for each pair of languages, drawn.

    Raises:
        BadInput: a language without words, the pivot among sources or targets, or no language left as a placebo.
    """
    others = [code for code in concepts.languages if code != pivot]
    ways = [way for way in product(sources or others, targets or others) if way[0] != way[1]]
    strange = {*sum(ways, ()), pivot} - {*concepts.languages}
    if strange or any(pivot in way for way in ways) or len(others) < 3 or not ways:
        raise BadInput(
            f"pivot={pivot!r}, sources={list(sources)}, targets={list(targets)}; the concepts have words in "
            f"{', '.join(concepts.languages)}: name other sources and targets than the pivot, and have a fourth language as placebo"
        )
    draw = random.Random(f"lens {seed}")
    pairs = list(product(sorted(concepts.frames), sorted(concepts.words)))
    return [
        _question(concepts, frame, concept, way, pivot, draw)
        for way in ways
        for frame, concept in draw.sample(pairs, len(pairs))[:limit]
    ]


def _question(
    concepts: Concepts, frame: str, concept: str, way: tuple[str, str], pivot: str, draw: random.Random
) -> LensQuestion:
    source, target = way
    placebo = draw.choice([code for code in concepts.languages if code not in (source, target, pivot)])
    wrong = draw.choice([one for one in sorted(concepts.words) if one != concept])
    said = [(concept, target), (concept, pivot), (concept, source), (concept, placebo), (wrong, pivot)]
    before, _, _ = concepts.parts(frame, concept, target)
    prompt = concepts.prompt(frame, concept, source, target).text
    words = tuple(concepts.words[name][code] for name, code in said)
    return LensQuestion(concept, source, target, prompt, before.rstrip(), words)


def lens_masses(
    model: Model,
    questions: Sequence[LensQuestion],
    *,
    affine: AffineLens | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Return the probability that each layer gives to the word in each role.

    Questions are dropped in which two roles share a first token, which then tells nothing; `attrs["dropped"]` is their number.

    Args:
        affine: Read through these maps instead (`affine_lens.fit`).

    Returns:
        One row per question kept and layer: model, cluster (the concept), source_language, target_language, layer (0: embeddings),
        depth (0 to 1), entropy and kl (from the last layer; nats), and a column for each of `ROLES`.

    Raises:
        BadInput: nothing is left; otherwise as `lens`.
    """
    space = "" if model.is_encoder_decoder else " "
    answers = [space + one.answer if one.answer else "" for one in questions]
    prompts, words = [one.prompt for one in questions], [one.words for one in questions]
    found = lens(model, prompts, words, answers=answers, affine=affine, progress=progress)
    kept = [pair for pair in zip(questions, found, strict=True) if _are_distinct(pair[1])]
    if not kept:
        raise BadInput(
            f"in all {len(questions)} questions two languages share a first token; take other languages"
        )
    table = pd.DataFrame([row for pair in kept for row in _rows(model.name, *pair)])
    table.attrs["dropped"] = len(questions) - len(kept)
    return table


def lens_by_layer(masses: pd.DataFrame, by: Sequence[str] = ("model",)) -> pd.DataFrame:
    """Return the mean of each role's probability and of the entropy by layer, with 95 % intervals over meanings.

    Returns:
        One row per group, layer and role ("entropy" is one): layer, depth, role, mean, low, high, questions, meanings.
    """
    rows = []
    for key, part in masses.groupby([*by, "layer", "depth"], sort=False):
        for role in (*ROLES, "entropy"):
            found = bootstrap(part[role], part["cluster"])
            ends = (found.estimate, found.low, found.high)
            rows.append((*key, role, *ends, len(part), part["cluster"].nunique()))
    return pd.DataFrame(
        rows, columns=[*by, "layer", "depth", "role", "mean", "low", "high", "questions", "meanings"]
    )


def lens_differences(
    masses: pd.DataFrame,
    minus: Sequence[str] = ("target", "placebo", "wrong"),
    by: Sequence[str] = ("model",),
) -> pd.DataFrame:
    """Return by layer how far P(pivot) exceeds that of each other role, paired by question, with 95 % t intervals over meanings.

    Returns:
        One row per group, layer and role compared: layer, depth, minus, difference, low, high, share (of questions with P(pivot)
        above the other), questions, meanings.
    """
    rows = []
    for key, part in masses.groupby([*by, "layer", "depth"], sort=False):
        for role in minus:
            found = paired_difference(part[role], part["pivot"], part["cluster"], reach=None)
            ends = (found.estimate, found.low, found.high)
            above = (part["pivot"] > part[role]).mean()
            rows.append((*key, role, *ends, above, len(part), part["cluster"].nunique()))
    columns = ["layer", "depth", "minus", "difference", "low", "high", "share", "questions", "meanings"]
    return pd.DataFrame(rows, columns=[*by, *columns])


def _are_distinct(reading: LensReading) -> bool:
    return not any({*one} & {*other} for one, other in combinations(reading.words, 2))


def _rows(name: str, question: LensQuestion, reading: LensReading) -> Iterator[dict[str, object]]:
    masses = np.stack([reading.mass([number]) for number in range(len(ROLES))], axis=1)
    last = len(reading.entropies) - 1
    ways = {"source_language": question.source, "target_language": question.target}
    about = {"model": name, "cluster": question.cluster, **ways}
    for layer, (row, entropy, kl) in enumerate(zip(masses, reading.entropies, reading.kl, strict=True)):
        place = {"layer": layer, "depth": layer / last, "entropy": float(entropy), "kl": float(kl)}
        yield {**about, **place, **dict(zip(ROLES, map(float, row), strict=True))}
