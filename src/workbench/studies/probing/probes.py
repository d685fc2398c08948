"""What a linear probe reads from hidden states, layer by layer, compared with controls.

A probe is a multinomial logistic regression on standardised states. Every score is reported beside its controls: a control
task (each word type gets a random label, so the probe can only memorise: Hewitt & Liang 2019, D19-1275), the majority
class, and, given the states of a model with random weights, what the architecture alone encodes. Items are split by
meaning, so that no test item has a translation in training.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from workbench.errors import BadInput
from workbench.stats import bootstrap, paired_difference


@dataclass(frozen=True)
class Examples:
    """N texts to probe: states (N, L+1, D), and the label, language and meaning id of each text."""

    states: np.ndarray
    labels: Sequence[Hashable]
    languages: Sequence[str]
    meanings: Sequence[Hashable]

    def __post_init__(self) -> None:
        lengths = {len(self.states), len(self.labels), len(self.languages), len(self.meanings)}
        if len(lengths) != 1 or self.states.ndim != 3:
            raise BadInput(
                f"states of shape {self.states.shape} came with {len(self.labels)} labels, {len(self.languages)} "
                f"languages and {len(self.meanings)} meanings; give states (N, layers, width) and N of each"
            )
        if len(set(self.labels)) < 2:
            raise BadInput(f"the labels are {set(self.labels)}; a probe needs at least two classes")


def control_labels(types: Sequence[Hashable], classes: int, seed: int = 0) -> list[int]:
    """Return the labels of the control task: each word type (any hashable) gets one random class throughout."""
    generator = np.random.default_rng(seed)
    of = {kind: int(generator.integers(classes)) for kind in sorted(set(types), key=repr)}
    return [of[kind] for kind in types]


def majority(labels: Sequence[Hashable]) -> float:
    """Return the share of the most frequent label, the score of a probe that ignores its input."""
    return float(pd.Series(list(labels)).value_counts(normalize=True).iloc[0])


def probe(
    examples: Examples, *, train_on: str | None = None, folds: int = 5, C: float = 0.1, seed: int = 0
) -> pd.DataFrame:
    """Fit one probe per layer and fold, and test it on meanings that it has not seen.

    Args:
        train_on: Fit on texts of this language alone and test on every language, to see whether a direction has the same
            meaning across languages. By default all languages are in training.
        C: The inverse regularisation strength, as in scikit-learn.

    Returns:
        One row per text and layer (0 is the embeddings): layer, language, meaning, label, predicted, correct.

    Raises:
        BadInput: fewer than two folds, fewer meanings than folds, a language that no text has, or a fold whose training texts
            all have the same label.
    """
    labels, languages = np.asarray(examples.labels), np.asarray(examples.languages)
    meanings = pd.factorize(np.asarray(examples.meanings))[0]
    if train_on is not None and train_on not in set(examples.languages):
        raise BadInput(
            f"no text is in {train_on!r}; the languages are {', '.join(sorted(set(examples.languages)))}"
        )
    if not 2 <= folds <= len(set(meanings)):
        raise BadInput(
            f"{len(set(meanings))} meanings cannot be split into {folds} folds; give two folds or more, and a meaning for each"
        )
    tables = []
    for train, test in GroupKFold(folds, shuffle=True, random_state=seed).split(meanings, groups=meanings):
        fitted_on = train if train_on is None else train[languages[train] == train_on]
        if len(set(labels[fitted_on])) < 2:
            raise BadInput(
                f"a fold's training part has only the label {labels[fitted_on][:1]}; give more texts"
            )
        for layer in range(examples.states.shape[1]):
            features = examples.states[:, layer]
            linear = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=500, tol=1e-3))
            predicted = linear.fit(features[fitted_on], labels[fitted_on]).predict(features[test])
            tables.append(
                pd.DataFrame(
                    {
                        "layer": layer,
                        "language": languages[test],
                        "meaning": np.asarray(examples.meanings)[test],
                        "label": labels[test],
                        "predicted": predicted,
                        "correct": predicted == labels[test],
                    }
                )
            )
    return pd.concat(tables, ignore_index=True)


def retrieval(examples: Examples, *, pivot: str) -> pd.DataFrame:
    """Test for every text whether its nearest neighbour (by cosine) in the pivot language is its translation, and vice versa.

    States are first centred per language, which removes the mean representation of a language (Libovický et al. 2020,
    2004.05160).

    Returns:
        One row per text outside the pivot and layer: layer, language, meaning, correct (mean of both directions).

    Raises:
        BadInput: no language but the pivot, or one that does not have the pivot's meanings, each exactly once.
    """
    languages, meanings = np.asarray(examples.languages), np.asarray(examples.meanings)
    order = {
        name: np.argsort(meanings[languages == name], kind="stable") for name in dict.fromkeys(languages)
    }
    if pivot not in order or len(order) < 2:
        raise BadInput(f"texts are in {', '.join(order)}; retrieval needs {pivot!r} and another language")
    shared = meanings[languages == pivot][order[pivot]]
    tables = []
    for name, places in order.items():
        if name == pivot:
            continue
        if len(set(shared)) < len(shared) or not np.array_equal(meanings[languages == name][places], shared):
            raise BadInput(
                f"{name} and {pivot} do not have the same meanings, each once; retrieval needs parallel texts"
            )
        for layer in range(examples.states.shape[1]):
            here = _unit(examples.states[languages == name, layer][places])
            there = _unit(examples.states[languages == pivot, layer][order[pivot]])
            cosine, own = here @ there.T, np.arange(len(shared))
            hits = (np.mean([cosine.argmax(1) == own, cosine.argmax(0) == own], axis=0)).astype(float)
            tables.append(
                pd.DataFrame({"layer": layer, "language": name, "meaning": shared, "correct": hits})
            )
    return pd.concat(tables, ignore_index=True)


def by_layer(table: pd.DataFrame, *groups: str, seed: int = 0) -> pd.DataFrame:
    """Average `correct` per layer (and per column in `groups`), with a 95 % bootstrap interval over meanings."""
    rows = []
    for key, part in table.groupby([*groups, "layer"], sort=False):
        interval = bootstrap(part["correct"].astype(float), part["meaning"], draws=1000, seed=seed)
        rows.append((*key, interval.estimate, interval.low, interval.high))
    return pd.DataFrame(rows, columns=[*groups, "layer", "accuracy", "low", "high"])


def best_layers(table: pd.DataFrame, *groups: str, draws: int = 3000, seed: int = 0) -> pd.DataFrame:
    """Return the best layer of each group, and the layers that a paired comparison does not distinguish from it.

    Each layer is compared with the best on the same texts, by `stats.paired_difference` over meanings; the intervals have a
    joint level of 95 % over the layers of a group (Bonferroni). The best layer is selected on the data on which it is
    reported, so its accuracy is slightly optimistic.

    Returns:
        One row per group: the columns in `groups`, layer (the first of the best), accuracy with low and high (95 %), alike
        (the layers not distinguished from the best, itself included), lowest (the lowest accuracy among these), first and last
        (accuracy in the embeddings and in the last layer), layers (their number, embeddings included).

    Raises:
        BadInput: a text has no score at some layer, or several that the columns in `groups` do not distinguish.
    """
    rows = []
    for key, part in table.groupby(list(groups), sort=False):
        scores = _per_layer(part, key)
        means, meanings = scores.mean(), scores.index.get_level_values("meaning").to_numpy()
        best = means.idxmax()
        interval = bootstrap(scores[best], meanings, draws=draws, seed=seed)
        level = 1 - 0.05 / max(1, len(means) - 1)
        alike = tuple(
            layer
            for layer, here in scores.items()
            if paired_difference(here, scores[best], meanings, level=level).low <= 0
        )
        ends = (interval.estimate, interval.low, interval.high)
        of_layers = (means[means.index.isin(alike)].min(), means.iloc[0], means.iloc[-1], len(means))
        rows.append((*key, best, *ends, alike, *of_layers))
    columns = ["layer", "accuracy", "low", "high", "alike", "lowest", "first", "last", "layers"]
    return pd.DataFrame(rows, columns=[*groups, *columns])


def _per_layer(part: pd.DataFrame, key: tuple[Hashable, ...]) -> pd.DataFrame:
    """Return one row per text and one column per layer, without gaps."""
    text = ["meaning", "language"]
    twice = int(part.duplicated([*text, "layer"]).sum())
    if twice:
        raise BadInput(
            f"{twice} scores of {key} repeat a meaning, language and layer; name the columns that distinguish them in `groups`"
        )
    scores = part.pivot(index=text, columns="layer", values="correct").astype(float)
    gaps = int(scores.isna().to_numpy().sum())
    if gaps:
        raise BadInput(f"{gaps} scores of {key} are missing; score every text at every layer")
    return scores


def _unit(states: np.ndarray) -> np.ndarray:
    centred = states - states.mean(axis=0)
    return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
