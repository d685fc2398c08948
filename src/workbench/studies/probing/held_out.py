"""What a probe trained in one language reads, in others, from texts about words that it has never seen.

The probe is ridge regression on coded labels. Its dual form needs only products of states, so it costs the same at any
width, and all labellings of the words share one decomposition. States are centred per language and standardised, both
without labels. The control is the same question with labels shuffled among words: same texts, classes and folds.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import linalg
from scipy import stats as distributions
from scipy.sparse import csr_array
from sklearn.model_selection import GroupKFold
from threadpoolctl import threadpool_limits

from workbench.errors import BadInput
from workbench.inference.cached import progress_bar
from workbench.stats import bootstrap_ratio
from workbench.stats.intervals import UPPER
from workbench.studies.probing.examples import Examples, centred, split_groups

STRENGTH = 0.2  # of the ridge, in units of the mean squared length of a training state


@dataclass(frozen=True)
class HeldOut:
    """Scores of U units (words with one label; else meanings) under P + 1 labellings, of which the first is the true one.

    `correct` (P+1, L+1, G, U) is the share of a unit's texts in each of G languages that was read right; `labels` (P+1, U);
    `groups` (U,) says which units were held out together; `dropped` are labels that too few groups have.
    """

    correct: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    languages: tuple[str, ...]
    train_on: str
    dropped: tuple[Hashable, ...]

    @property
    def chance(self) -> float:
        """The expected accuracy of guessing: classes count equally."""
        return 1 / (int(self.labels.max()) + 1)

    def texts(self, languages: Sequence[str] | None = None) -> pd.DataFrame:
        """Return layer, language, meaning (the group held out) and `correct`, for `best_layers`."""
        kept = self._places(languages)
        scores = self.correct[0][:, kept]
        layer, language, unit = (axis.ravel() for axis in np.indices(scores.shape))
        names = np.array(self.languages)[kept]
        columns = {
            "layer": layer,
            "language": names[language],
            "meaning": self.groups[unit],
            "correct": scores.ravel(),
        }
        return pd.DataFrame(columns).groupby(["layer", "language", "meaning"], as_index=False).mean()

    def by_layer(self, languages: Sequence[str] | None = None) -> pd.DataFrame:
        """Average over languages (by default all but the one trained on), and compare with the shuffled labellings.

        The interval is that of a bootstrap over held-out words, made as wide as the spread under shuffled labels asks: words
        share a probe, which resampling them does not show. Its coverage in simulations is in the tests.

        Returns:
            One row per layer: accuracy (classes count equally) with its 95 % interval low and high; control, control_low,
            control_high: mean and 95 % range under shuffled labels; selectivity: accuracy minus control; p_value: of "labels
            belong to words by chance", by permutation, so exact. Without permutations the last five are NaN.
        """
        scores = self.correct[:, :, self._places(languages)].mean(axis=2)
        shares = _shares(self.labels)
        accuracy = np.einsum("plu,pu->lp", scores, shares)
        spread, rows = distributions.t.ppf(UPPER, len(set(self.groups)) - 1), []
        for layer, (own, *shuffled) in enumerate(accuracy):
            drawn = bootstrap_ratio(scores[0, layer] * shares[0], shares[0], self.groups, draws=1000)
            control = _control(own, np.array(shuffled))
            half = spread * np.std(shuffled) if len(shuffled) > 1 else 0.0
            ends = (max(0.0, min(drawn.low, own - half)), min(1.0, max(drawn.high, own + half)))
            rows.append((layer, own, *ends, *control))
        columns = ["control", "control_low", "control_high", "selectivity", "p_value"]
        return pd.DataFrame(rows, columns=["layer", "accuracy", "low", "high", *columns])

    def best(self) -> tuple[int, float]:
        """Return the best layer outside the training language, and the p-value of its accuracy, allowing for the choice.

        The accuracy is compared with that of the best layer under each shuffled labelling, so the p-value is exact.
        """
        scores = self.correct[:, :, self._places(None)].mean(axis=2)
        accuracy = np.einsum("plu,pu->pl", scores, _shares(self.labels))
        own, *shuffled = accuracy.max(axis=1)
        return int(accuracy[0].argmax()), _control(own, np.array(shuffled))[-1]

    def by_language(self) -> pd.DataFrame:
        """Return the table of `by_layer` for every language apart."""
        parts = [self.by_layer([name]).assign(language=name) for name in self.languages]
        return pd.concat(parts, ignore_index=True)

    def _places(self, languages: Sequence[str] | None) -> list[int]:
        wanted = languages or [name for name in self.languages if name != self.train_on] or self.languages
        return [self.languages.index(name) for name in wanted]


@threadpool_limits.wrap(limits=1, user_api="blas")
def held_out_words(
    examples: Examples,
    *,
    train_on: str,
    folds: int = 4,
    repeats: int = 5,
    permutations: int = 99,
    centre: bool = True,
    seed: int = 0,
    progress: bool = True,
) -> HeldOut:
    """Fit probes on texts in one language, and test them in every language on words (and meanings) that were left out.

    Words are split at random, whatever their labels; a label that fewer groups of words than folds have is dropped. If every
    word has one label, words are the units whose labels are shuffled, else meanings.

    Args:
        examples: Texts whose `words` are held out together; without words, only meanings are.
        repeats: Splits, over which scores are averaged: with few words, a single split decides much.
        permutations: Shuffled labellings; the smallest p-value is 1 / (permutations + 1).
        centre: Subtract each language's mean; else that of the training language, from all.
        progress: Show a bar over layers.

    Raises:
        BadInput: no text in `train_on`, fewer than two folds, a meaning with two labels, or fewer than two labels left.
    """
    if train_on not in set(examples.languages):
        raise BadInput(
            f"no text is in {train_on!r}; the languages are {', '.join(sorted(set(examples.languages)))}"
        )
    kept, dropped = _kept(examples, folds)
    unit, labels, groups = _units(kept)
    generator = np.random.default_rng(seed)
    labellings = np.stack([labels, *(generator.permutation(labels) for _ in range(permutations))])
    splits = [_folds(groups, folds, seed + number) for number in range(repeats)]
    languages, trained = tuple(dict.fromkeys(kept.languages)), np.asarray(kept.languages) == train_on
    place = np.array([languages.index(name) for name in kept.languages]) * len(labels) + unit
    cells = csr_array(
        (np.ones(len(place)), (place, np.arange(len(place)))), (len(languages) * len(labels), len(place))
    )
    layers, height = [], kept.states.shape[1]
    with progress_bar(height, "probes of held-out words", progress, unit="layer") as bar:
        for layer in range(height):
            kernel = _kernel(kept.states[:, layer], kept.languages, trained, centre)
            right = np.mean(
                [_right(kernel, labellings[:, unit], fold[unit], trained) for fold in splits], axis=0
            )
            layers.append((cells @ right) / np.maximum(cells.sum(axis=1), 1)[:, None])
            bar.update()
    correct = np.stack(layers).reshape(-1, len(languages), len(labels), len(labellings)).transpose(3, 0, 1, 2)
    return HeldOut(correct, labellings, groups, languages, train_on, dropped)


def coded(labels: np.ndarray, kinds: int) -> np.ndarray:
    """Return the targets of n labels (…, n) of K kinds: n / (size of its class) - 1 for a text's own class, else -1; (…, n, K).

    So a class weighs the same whatever its size, and the targets of each class have mean 0 and need no offset. Those of a
    class without texts are 0.
    """
    own = np.eye(kinds)[labels]
    share = own.mean(axis=-2, keepdims=True)
    return own / np.maximum(share, 1e-9) - (share > 0)


def _kept(examples: Examples, folds: int) -> tuple[Examples, tuple[Hashable, ...]]:
    """Drop the labels that fewer groups than folds have."""
    named = np.array([repr(label) for label in examples.labels])
    count = pd.Series(split_groups(examples)).groupby(named).nunique()
    few = count.index[count < folds]
    if folds < 2 or len(count) - len(few) < 2:
        raise BadInput(
            f"{folds} folds, and labels with so many groups of words: {count.to_dict()}; give two folds or more, and two labels "
            "with a group for each fold (is `limit` too small?)"
        )
    places = np.flatnonzero(~np.isin(named, few))
    names = sorted({label for label in examples.labels if repr(label) in set(few)}, key=repr)
    return examples.chosen(places), tuple(names)


def _units(examples: Examples) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the unit of each text (N,), and each unit's label and group (U,)."""
    groups, labels = split_groups(examples), pd.factorize(np.array([repr(one) for one in examples.labels]))[0]
    groups = pd.factorize(groups)[0]
    for unit in (groups, pd.factorize(np.asarray(examples.meanings))[0]):
        table = pd.DataFrame({"unit": unit, "label": labels, "group": groups}).drop_duplicates()
        if not table["unit"].duplicated().any():
            table = table.sort_values("unit")
            return unit, table["label"].to_numpy(), table["group"].to_numpy()
    raise BadInput("a meaning has two labels; give texts of one meaning the same label in every language")


def _folds(groups: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Return the fold in which each unit is tested, shape (U,)."""
    fold = np.empty(len(groups), dtype=int)
    for number, (_, test) in enumerate(
        GroupKFold(folds, shuffle=True, random_state=seed).split(groups, groups=groups)
    ):
        fold[test] = number
    return fold


def _kernel(states: np.ndarray, languages: Sequence[str], trained: np.ndarray, centre: bool) -> np.ndarray:
    """Return the products of all N states with those of the training language, in units of the latter's mean square."""
    features = (
        centred(states, languages) if centre else states - states[trained].mean(axis=0, dtype=np.float64)
    )
    features = features / np.maximum(features.std(axis=0), 1e-9)
    return (features @ features[trained].T) / max(
        float(np.square(features[trained]).sum(axis=1).mean()), 1e-9
    )


def _right(kernel: np.ndarray, labels: np.ndarray, fold: np.ndarray, trained: np.ndarray) -> np.ndarray:
    """Return whether each text is read right by the probe that did not see its fold, under each labelling (P+1, N); (N, P+1)."""
    right, own, of = np.empty(labels.T.shape, dtype=np.float32), labels[:, trained], fold[trained]
    for number in range(int(fold.max()) + 1):
        train, test = np.flatnonzero(of != number), np.flatnonzero(fold == number)
        system = kernel[trained][np.ix_(train, train)] + STRENGTH * np.eye(len(train))
        targets = coded(own[:, train], int(labels.max()) + 1)  # (P+1, n, K)
        flat = targets.transpose(1, 0, 2).reshape(len(train), -1)
        dual = linalg.solve(system, flat, assume_a="pos")
        scores = (kernel[np.ix_(test, train)] @ dual).reshape(len(test), len(labels), -1)
        right[test] = scores.argmax(axis=2) == labels[:, test].T
    return right


def _shares(labels: np.ndarray) -> np.ndarray:
    """Return the weight of each unit under each labelling: labels count equally, and the units of a label too; (P+1, U)."""
    counts = np.apply_along_axis(np.bincount, 1, labels, minlength=int(labels.max()) + 1)
    return 1 / np.take_along_axis(counts, labels, axis=1) / counts.shape[1]


def _control(own: float, shuffled: np.ndarray) -> tuple[float, float, float, float, float]:
    if not len(shuffled):
        return (np.nan,) * 5
    low, high = np.quantile(shuffled, (0.025, 0.975))
    p_value = (1 + np.sum(shuffled >= own - 1e-6)) / (1 + len(shuffled))  # scores are float32
    return float(shuffled.mean()), float(low), float(high), float(own - shuffled.mean()), float(p_value)
