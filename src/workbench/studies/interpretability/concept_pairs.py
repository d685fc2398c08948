"""Pairs of prompts for `patching`: which concept goes into which, and which concepts are their controls."""

import random
from dataclasses import dataclass

from workbench.errors import BadInput
from workbench.studies.interpretability.concepts import Concepts


@dataclass(frozen=True)
class Pair:
    """Two prompts: the concept of the source is patched into the target.

    `other` is the concept of the unrelated source; `bystander` is in no prompt, and the answers are compared with it. `cluster` is the
    same for both directions between two concepts, and for all sentences.
    """

    cluster: str
    source_concept: str
    target_concept: str
    other: str
    bystander: str
    source_frame: str
    target_frame: str


def concept_pairs(concepts: Concepts, *, limit: int = 12, seed: int = 0) -> list[Pair]:
    """Return disjoint pairs of concepts, each in both directions, in one drawn sentence after the other up to the limit.

    Raises:
        BadInput: fewer than four concepts.
    """
    names = sorted(concepts.words)
    if len(names) < 4:
        raise BadInput(f"{len(names)} concepts make fewer than two pairs; give four or more")
    draw = random.Random(f"pairs {seed}")
    frames = draw.sample(sorted(concepts.frames), len(concepts.frames))
    draw.shuffle(names)
    couples = list(zip(names[::2], names[1::2], strict=False))
    made = []
    for number, there in enumerate(frames):
        here = frames[number - 1]
        for place, (one, two) in enumerate(couples):
            rest = couples[(place + 1 + number % (len(couples) - 1)) % len(couples)]
            made.append(Pair(f"{one}–{two}", one, two, *rest, here, there))
            made.append(Pair(f"{one}–{two}", two, one, *rest, here, there))
    return made[:limit]
