"""Steering towards a language by adding a difference of means to the states, with a dose curve and with asking as the baseline.

The direction is the mean state in the wanted language minus that in the language asked for, at one layer. The controls are a random
vector of the same length, and simply asking for the wanted language, which steering should be compared with (arXiv:2501.17148).
"""

from collections.abc import Sequence
from itertools import permutations

import numpy as np
import pandas as pd

from workbench.errors import BadInput
from workbench.models import Model
from workbench.models.interventions import Intervention
from workbench.studies.interpretability.concepts import Concepts
from workbench.studies.interpretability.erasure import class_means
from workbench.studies.interpretability.translations import (
    Question,
    Reading,
    asked,
    labelled_states,
    questions,
)

CONDITIONS = ("steered", "random", "asking")
DOSES = (0.5, 1.0, 2.0, 4.0)


def directions(states: np.ndarray, languages: Sequence[str]) -> dict[tuple[str, str], np.ndarray]:
    """Return for each ordered pair of languages the mean state of the second minus that of the first, (D,).

    Raises:
        BadInput: as `erasure.class_means`.
    """
    means = class_means(states, languages)
    return {(str(a), str(b)): means[b] - means[a] for a, b in permutations(means, 2)}


def steer(
    model: Model,
    concepts: Concepts,
    *,
    reading: Reading = "texts",
    layers: Sequence[int] | None = None,
    doses: Sequence[float] = DOSES,
    limit: int = 48,
    seed: int = 0,
) -> pd.DataFrame:
    """Ask for a translation into one language, and steer towards another at one layer and all places.

    Args:
        reading: What the means are taken of, as for `labelled_states`.
        doses: By which the difference of means is multiplied.
        limit: Questions.

    Returns:
        One row per question, layer, dose and condition: layer, dose, condition, cluster, source, target (the language asked for),
        wanted; p_wanted, p_asked (probabilities of the languages), p_concept, gain (by which P(wanted) rises), nats (log P of the right
        answer in the wanted language) and gained_nats. The rows of "asking" are the same at every layer and dose.

    Raises:
        BadInput: fewer than three languages.
    """
    codes = concepts.languages
    if len(codes) < 3:
        raise BadInput(f"steering needs a source, an asked and a wanted language; got {', '.join(codes)}")
    of = questions(concepts, limit=limit, seed=seed)
    wanted = [_wanted(codes, one, number) for number, one in enumerate(of)]
    states = labelled_states(model, concepts, reading, seed=seed)
    before = _towards(model, concepts, of, wanted)
    asking = _gained(before, _towards(model, concepts, of, wanted, ask=True))
    rows = []
    for layer in range(states.array.shape[1]) if layers is None else layers:
        found = directions(states.array[:, layer], states.languages)
        for condition in CONDITIONS[:2]:
            vectors = [found[one.target, code] for one, code in zip(of, wanted, strict=True)]
            if condition == "random":
                vectors = _as_long(vectors, seed)
            for dose in doses:
                changed = model.intervened(
                    *_interventions(concepts, of, [dose * one for one in vectors], layer, states.stack)
                )
                after = _gained(before, _towards(changed, concepts, of, wanted))
                rows.append(after.assign(layer=layer, dose=dose, condition=condition))
        rows += [asking.assign(layer=layer, dose=dose, condition="asking") for dose in doses]
    table = pd.concat(rows, ignore_index=True)
    first = ["layer", "dose", "condition", "cluster", "source", "target", "wanted"]
    return table[[*first, *(name for name in table.columns if name not in first)]]


def _wanted(codes: Sequence[str], question: Question, number: int) -> str:
    """Return a language that is neither the question's source nor the one that it asks for, each in turn."""
    left = [code for code in codes if code not in (question.source, question.target)]
    return left[number % len(left)]


def _as_long(vectors: Sequence[np.ndarray], seed: int) -> list[np.ndarray]:
    draws = np.random.default_rng(seed).standard_normal((len(vectors), len(vectors[0])))
    lengths = [np.linalg.norm(one) / np.linalg.norm(draw) for one, draw in zip(vectors, draws, strict=True)]
    return [draw * length for draw, length in zip(draws, lengths, strict=True)]


def _interventions(
    concepts: Concepts, of: Sequence[Question], vectors: Sequence[np.ndarray], layer: int, stack: str
) -> list[Intervention]:
    return [
        Intervention(
            kind="add",
            layers=(layer,),
            array=vector.astype("float32"),
            stack=stack,  # type: ignore[arg-type]
            prompts=(concepts.prompt(one.frame, one.concept, one.source, one.target).text,),
        )
        for one, vector in zip(of, vectors, strict=True)
    ]


def _towards(
    model: Model, concepts: Concepts, of: Sequence[Question], wanted: Sequence[str], *, ask: bool = False
) -> pd.DataFrame:
    """Return the answers, of which the one in the wanted language is right, to requests for each question's own or the wanted one."""
    aims = [
        Question(one.frame, one.concept, one.others, one.source, code)
        for one, code in zip(of, wanted, strict=True)
    ]
    own = [one.target for one in of]
    found = asked(model, concepts, aims, into=() if ask else own)
    return pd.DataFrame(
        {
            "cluster": found["cluster"],
            "source": found["source"],
            "target": own,
            "wanted": list(wanted),
            "p_wanted": found["p_language"],
            "p_asked": [found[f"p_{code}"].iloc[number] for number, code in enumerate(own)],
            "p_concept": found["p_concept"],
            "nats": found["nats"],
        }
    )


def _gained(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    return after.assign(
        gain=after["p_wanted"] - before["p_wanted"], gained_nats=after["nats"] - before["nats"]
    )
