"""Translations that are asked for under an intervention: in which language, and with which concept, does the answer come?"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Literal

import numpy as np
import pandas as pd

from workbench.errors import BadInput
from workbench.inference.token_states import token_states
from workbench.models import Model
from workbench.models.requests import Stack
from workbench.studies.interpretability.concepts import Concepts, answer_scores, log_sum, normalised

Reading = Literal["texts", "answers"]
READINGS: tuple[Reading, ...] = ("texts", "answers")


@dataclass(frozen=True)
class Question:
    """A sentence with a concept that is to be translated; the answers of the closed set have this concept or one of the `others`."""

    frame: str
    concept: str
    others: tuple[str, ...]
    source: str
    target: str


@dataclass(frozen=True)
class LabelledStates:
    """States of N tokens at every layer of a stack, (N, L+1, D), and the language of each."""

    array: np.ndarray
    languages: tuple[str, ...]
    stack: Stack


def split(concepts: Concepts, seed: int = 0) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return two halves of all (sentence, concept), to fit on and to ask about: apart in sentences, or in concepts if there is one."""
    frames, words = sorted(concepts.frames), sorted(concepts.words)
    draw = random.Random(f"split {seed}")
    draw.shuffle(frames)
    draw.shuffle(words)
    half = len(frames) // 2
    if half:
        parts = [(frames[:half], words), (frames[half:], words)]
    else:
        parts = [(frames, words[: len(words) // 2]), (frames, words[len(words) // 2 :])]
    fitted, asked = ([(frame, word) for frame in some for word in these] for some, these in parts)
    return fitted, asked


def questions(
    concepts: Concepts, ways: Sequence[tuple[str, str]] = (), *, limit: int = 48, seed: int = 0
) -> list[Question]:
    """Return questions about the half to ask about, with each pair of languages (by default all) in turn.

    Raises:
        BadInput: fewer than three concepts to ask about.
    """
    _, asked = split(concepts, seed)
    names = sorted({concept for _, concept in asked})
    if len(names) < 3:
        raise BadInput(f"{len(names)} concepts are left to ask about; three are needed, so give six or more")
    draw = random.Random(f"questions {seed}")
    ways = list(ways) or list(permutations(concepts.languages, 2))
    made = [
        Question(frame, concept, tuple(draw.sample([one for one in names if one != concept], 2)), *way)
        for way in ways
        for frame, concept in draw.sample(asked, len(asked))[: -(-limit // len(ways))]
    ]
    return made[:limit] if limit < len(ways) else made


def asked(
    model: Model, concepts: Concepts, of: Sequence[Question], *, into: Sequence[str] = ()
) -> pd.DataFrame:
    """Ask the questions and score the closed set of answers: one row per question.

    Args:
        into: The language to ask for instead of each question's own; what is right stays the same.

    Returns:
        cluster (the concept), source, target; nats (log P of the right answer), p_language (of the target's, in the closed set),
        p_concept, language (the likeliest), and `p_…` for every language.
    """
    wanted = list(into) or [one.target for one in of]
    prompts = [
        concepts.prompt(one.frame, one.concept, one.source, code).text
        for one, code in zip(of, wanted, strict=True)
    ]
    space = "" if model.is_encoder_decoder else " "
    grids = [
        [
            [space + text for text in line]
            for line in concepts.candidates(one.frame, (one.concept, *one.others))
        ]
        for one in of
    ]
    scores = answer_scores(model, prompts, grids)
    closed, codes = normalised(scores), concepts.languages
    by_language = np.exp(log_sum(closed, 1))
    places = [codes.index(one.target) for one in of]
    rows = np.arange(len(of))
    return pd.DataFrame(
        {
            "cluster": [one.concept for one in of],
            "source": [one.source for one in of],
            "target": [one.target for one in of],
            "nats": scores[rows, 0, places],
            "p_language": by_language[rows, places],
            "p_concept": np.exp(log_sum(closed[:, 0], -1)),
            "language": [codes[place] for place in by_language.argmax(axis=1)],
            **{f"p_{code}": by_language[:, number] for number, code in enumerate(codes)},
        }
    )


def labelled_states(
    model: Model, concepts: Concepts, reading: Reading = "texts", *, seed: int = 0
) -> LabelledStates:
    """Return states of the half to fit on, with their languages.

    `texts`: all tokens of each sentence, read alone by the stack that reads prompts; the language is the sentence's. `answers`:
    the place in the decoder that predicts the answer to a request for a translation; the language is the one asked for.

    Raises:
        BadInput: an unknown reading.
    """
    if reading not in READINGS:
        raise BadInput(f"reading={reading!r}; choose one of: {', '.join(READINGS)}")
    fitted, _ = split(concepts, seed)
    if reading == "texts":
        asked_for = [(concepts.text(*one, code), code) for one in fitted for code in concepts.languages]
    else:
        ways = list(permutations(concepts.languages, 2))
        asked_for = [(concepts.prompt(*one, *way).text, way[1]) for one in fitted for way in ways]
    texts = [text for text, _ in asked_for]
    stack: Stack = "encoder" if model.is_encoder_decoder and reading == "texts" else "decoder"
    last = [[0 if model.is_encoder_decoder else -1]] * len(texts)
    found = token_states(
        model, texts, positions=None if reading == "texts" else last, stack=stack, progress=False
    ).arrays
    languages = [code for (_, code), each in zip(asked_for, found, strict=True) for _ in range(each.shape[1])]
    return LabelledStates(
        np.concatenate([each.transpose(1, 0, 2) for each in found]), tuple(languages), stack
    )
