"""Check e: linear probes read from the bases what training put there, and nothing if labels are shuffled.

The probes are `workbench.studies.probing.unseen_word_accuracy`, the control is `shuffle_control`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from miniatures.check.checks import INTERVAL, Row, as_table, row
from miniatures.check.sides import SIDES, Side
from miniatures.scores import temporary_model
from workbench.errors import BadInput
from workbench.inference.states import hidden_states
from workbench.paths import data_path
from workbench.stats import bootstrap
from workbench.studies.probing import (
    Examples,
    WordExamples,
    shuffle_control,
    unseen_word_accuracy,
    word_examples,
)
from workbench.tasks import read_sentences

ATTRIBUTES = {"class": "object", "polarity": "mood"}  # attribute: the slot of the words that have it
RANDOM_SEEDS = 3  # models with random weights, whose scores are averaged
PERMUTATIONS = 500
AT_CHANCE = 0.02  # largest distance from chance of the interval for shuffled labels


def probes(folder: Path | None = None, seed: int = 0, permutations: int = PERMUTATIONS) -> pd.DataFrame:
    """Judge check e on the bases in `folder`: one row per condition, with the columns of `check`.

    Trained minus random weights is a difference of accuracies on the same sentences, averaged over all layers but the
    embeddings; its interval is from resampling words, of which there are few, since sentences about one word are
    correlated. The interval of the shuffled labels is that of a mean over independent shuffles.

    Raises:
        BadInput: a base that is missing.
    """
    folder = folder or data_path("mini/models")
    missing = [side.base for side in SIDES if not (folder / side.base / "model.safetensors").exists()]
    if missing:
        raise BadInput(f"{folder} lacks {', '.join(missing)}; train them with `workbench mini train`")
    return as_table(found for side in SIDES for found in _side(folder / side.base, side, seed, permutations))


def _side(base: Path, side: Side, seed: int, permutations: int) -> Iterator[Row]:
    sentences = read_sentences()
    texts = [one["text"] for one in sentences]
    trained = read_states(base, texts)
    untrained = [read_states(base, texts, random_seed=seed + number) for number in range(RANDOM_SEEDS)]
    for attribute in ATTRIBUTES:
        own = words_of(sentences, trained, attribute)
        others = [words_of(sentences, one, attribute) for one in untrained]
        yield from _attribute(own, others, attribute, side, seed)
        found = shuffle_control(own, permutations, seed)
        chance = 1 / len(set(own.labels))
        near = chance - AT_CHANCE <= found.low and found.high <= chance + AT_CHANCE
        what = f"{attribute}, held-out words, shuffled labels, within ±{AT_CHANCE} of"
        yield row("e", side.name, what, found, (INTERVAL, chance, near))


def _attribute(
    own: WordExamples, others: Sequence[WordExamples], attribute: str, side: Side, seed: int
) -> Iterator[Row]:
    trained = unseen_word_accuracy(own)
    random = np.mean([unseen_word_accuracy(one) for one in others], axis=0)
    for name, scores in (("trained", trained), ("random weights", random)):
        what = f"{attribute}, held-out words, {name}"
        yield row("e", side.name, what, bootstrap(scores, np.arange(len(scores)), seed=seed))
    found = bootstrap(trained - random, np.arange(len(trained)), seed=seed)
    what = f"{attribute}, held-out words, trained - random weights, above"
    yield row("e", side.name, what, found, (INTERVAL, 0.0, found.low > 0))


def read_states(base: Path, texts: Sequence[str], random_seed: int | None = None) -> np.ndarray:
    """Read a model's states at all layers but the embeddings, shape (N, L, D)."""
    with temporary_model(base, random_seed) as model:
        return hidden_states(model, texts, batch_size=128).array[:, 1:]


def words_of(sentences: Sequence[dict[str, str]], states: np.ndarray, attribute: str) -> WordExamples:
    """Select the sentences that state an attribute, and group them by the word that has it."""
    stated = np.array([one[attribute] is not None for one in sentences])
    rows = [one for one in sentences if one[attribute] is not None]
    labels, languages, meanings = ([one[key] for one in rows] for key in (attribute, "language", "id"))
    examples = Examples(states[stated], labels, languages, meanings)
    return word_examples(examples, [one[ATTRIBUTES[attribute]] for one in rows])
