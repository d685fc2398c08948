"""Erasing a concept from hidden states: LEACE, the subspace of class means, and random subspaces as controls.

Every eraser is an affine map h → h - ((h - center) @ readout.T) @ array, the form that an `Intervention(kind="erase")` takes.
LEACE makes every linear classifier useless and changes the states as little as that allows; the library `concept-erasure`
computes the same map with torch (a test compares them).
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from workbench.errors import BadInput

_NEGLIGIBLE = 1e-6  # a smaller singular value or eigenvalue, relative to the largest, is rounding
_STEPS = 40  # of the bisection for a subspace that removes a given norm
_STEEPEST = 8.0  # exponent of the covariance at which a drawn subspace is that of the largest variances


@dataclass(frozen=True)
class Eraser:
    """An affine map that removes r directions from states of width D: `array` and `readout` (r, D), `center` (D,)."""

    name: str
    array: np.ndarray
    readout: np.ndarray
    center: np.ndarray

    def __call__(self, states: np.ndarray) -> np.ndarray:
        """Return the states (N, D) without what is erased."""
        return np.asarray(states) - self.removed(states)

    def removed(self, states: np.ndarray) -> np.ndarray:
        """Return what is subtracted from each state, (N, D)."""
        return ((np.asarray(states) - self.center) @ self.readout.T) @ self.array

    def norm(self, states: np.ndarray) -> float:
        """Return the root mean square of the norms that it removes from these states."""
        return float(np.sqrt((self.removed(states) ** 2).sum(axis=1).mean()))


def leace(states: np.ndarray, labels: Sequence[Hashable]) -> Eraser:
    """Return the eraser after which no linear function of the states predicts the label better than a constant.

    Among all affine maps with this property it changes the states least, in the mean square. It is exact for the states that it
    was fitted on, of which there should be many more than dimensions: with fewer it erases them and generalises badly.

    Args:
        states: Shape (N, D).
        labels: The class of each state.

    Raises:
        BadInput: as `class_means`; or states that do not depend on the label (`depends`).

    Source: Belrose et al. 2023 (arXiv:2306.03819), theorem 4.3.
    """
    _expect_dependence(states, labels)
    centred, indicators = _centred(states, labels)
    center = np.asarray(states, dtype=np.float64).mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    is_kept = values > values[-1] * _NEGLIGIBLE
    roots, vectors = np.sqrt(values[is_kept]), vectors[:, is_kept]
    whitened = (
        (vectors / roots).T @ (centred.T @ indicators) / len(centred)
    )  # in the basis of the eigenvectors
    left, sizes, _ = np.linalg.svd(whitened, full_matrices=False)
    left = left[:, sizes > sizes[0] * _NEGLIGIBLE]
    return Eraser("LEACE", (vectors * roots @ left).T, (vectors / roots @ left).T, center)


def mean_subspace(states: np.ndarray, labels: Sequence[Hashable]) -> Eraser:
    """Return the orthogonal projector that removes the subspace in which the means of K classes differ, of rank K - 1.

    Its center is the mean of the class means. It makes these means equal, but a linear classifier can still use the classes'
    covariances with other directions, which `leace` removes too.

    Raises:
        BadInput: as `leace`.

    Source: the affine language subspaces of Chang et al. 2022 (arXiv:2205.10964), of class means alone.
    """
    _expect_dependence(states, labels)
    means = np.stack(list(class_means(states, labels).values()))
    center = means.mean(axis=0)
    _, sizes, directions = np.linalg.svd(means - center, full_matrices=False)
    basis = directions[sizes > sizes[0] * _NEGLIGIBLE]
    return Eraser("language means", basis, basis, center)


def depends(states: np.ndarray, labels: Sequence[Hashable]) -> bool:
    """Whether the classes' means differ by more than rounding, so that there is something to erase.

    They do not where a layer has not yet read what tells the classes apart: the last token of a prompt, in the embeddings.

    Raises:
        BadInput: as `class_means`.
    """
    means = np.stack(list(class_means(states, labels).values()))
    return bool(np.abs(means - means.mean(axis=0)).max() > _NEGLIGIBLE * np.abs(states).max())


def random_subspace(states: np.ndarray, rank: int, *, seed: int = 0) -> Eraser:
    """Return the projector that removes a uniformly random subspace of this rank, around the mean state: the control of equal rank."""
    return _drawn(np.asarray(states, dtype=np.float64), np.eye(np.shape(states)[1]), rank, seed)


def matched_subspace(
    states: np.ndarray, labels: Sequence[Hashable], like: Eraser, *, seed: int = 0
) -> Eraser:
    """Return a random projector of the same rank as another eraser that removes the same norm from these states.

    A uniformly random subspace contains little of the variance, so that removing it is a smaller change. This one is drawn
    from Gaussians whose covariance is a power of the states' own within classes, and the power is chosen so that the removed
    norms are equal. It is orthogonal to the class means. If even the directions of largest variance remove less, their removal
    is scaled up, and the map then is no projector.

    Raises:
        BadInput: as `class_means`.
    """
    states = np.asarray(states, dtype=np.float64)
    within, away = _within(states, labels), mean_subspace(states, labels).array
    values, vectors = np.linalg.eigh(within.T @ within / len(within))
    scales = np.maximum(values, values[-1] * _NEGLIGIBLE) / values[-1]
    wanted, rank = like.norm(states), len(like.array)
    outside = np.eye(states.shape[1]) - away.T @ away

    def drawn(power: float) -> Eraser:
        return _drawn(states, outside @ (vectors * scales ** (power / 2)), rank, seed)

    low, high = -_STEEPEST, _STEEPEST
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if drawn(middle).norm(states) < wanted else (low, middle)
    found = drawn((low + high) / 2)
    if abs(found.norm(states) / wanted - 1) > 0.01:
        found = replace(found, array=found.array * wanted / found.norm(states))
    return replace(found, name="random, equal rank and norm")


def erasers(states: np.ndarray, labels: Sequence[Hashable], *, seed: int = 0) -> tuple[Eraser, ...]:
    """Return LEACE and the subspace of class means, each erasing the label, and two random controls of the latter's rank.

    The second control also removes the same norm as the subspace of class means.

    Raises:
        BadInput: as `class_means`.
    """
    means = mean_subspace(states, labels)
    controls = (
        random_subspace(states, len(means.array), seed=seed),
        matched_subspace(states, labels, means, seed=seed),
    )
    return (leace(states, labels), means, *controls)


def class_means(states: np.ndarray, labels: Sequence[Hashable]) -> dict[Hashable, np.ndarray]:
    """Return the mean state (D,) of each class, in the order of their first appearance.

    Raises:
        BadInput: states that are not of shape (N, D), other than N labels, or fewer than two classes.
    """
    array = np.asarray(states, dtype=np.float64)
    if array.ndim != 2 or len(array) != len(labels) or len(set(labels)) < 2:
        raise BadInput(
            f"states of shape {array.shape} came with {len(labels)} labels of {len(set(labels))} classes; give states "
            "(N, width), and N labels of two classes or more"
        )
    places: dict[Hashable, list[int]] = {}
    for place, label in enumerate(labels):
        places.setdefault(label, []).append(place)
    return {label: array[chosen].mean(axis=0) for label, chosen in places.items()}


def _expect_dependence(states: np.ndarray, labels: Sequence[Hashable]) -> None:
    if not depends(states, labels):
        raise BadInput("the states have the same mean in every class; there is nothing to erase")


def _drawn(states: np.ndarray, spread: np.ndarray, rank: int, seed: int) -> Eraser:
    """Return the projector that removes the span of `rank` Gaussian draws, spread (D, D) applied to each."""
    draws = np.random.default_rng(seed).standard_normal((spread.shape[1], rank))
    basis = np.linalg.qr(spread @ draws)[0].T
    return Eraser("random, equal rank", basis, basis, states.mean(axis=0))


def _within(states: np.ndarray, labels: Sequence[Hashable]) -> np.ndarray:
    means = class_means(states, labels)
    return states - np.stack([means[label] for label in labels])


def _centred(states: np.ndarray, labels: Sequence[Hashable]) -> tuple[np.ndarray, np.ndarray]:
    """Return states (N, D) and indicators of the classes (N, K), each with mean 0."""
    kinds = {label: number for number, label in enumerate(class_means(states, labels))}
    array = np.asarray(states, dtype=np.float64)
    indicators = np.eye(len(kinds))[[kinds[label] for label in labels]]
    return array - array.mean(axis=0), indicators - indicators.mean(axis=0)
