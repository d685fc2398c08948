"""How many bits it takes to send labels to somebody who has the states: the online code of a linear probe.

Accuracy saturates where a label is easy to read; the length of the code does not, since it counts how many examples
the probe needs and how sure it is. Texts come in blocks; each block is coded with a probe trained on all before it.
The probe is a Bayesian mixture of logistic regressions of several strengths and of a uniform guess, so on noise the code
costs hardly more than n log2 K. Source: Voita & Titov 2020, arXiv:2003.12298; there: one probe, no mixture.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy.special import logsumexp
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from workbench.errors import BadInput
from workbench.inference.cached import progress_bar
from workbench.stats import bootstrap
from workbench.studies.probing.examples import Examples, split_groups

FRACTIONS = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.0625, 0.125, 0.25, 0.5, 1.0)  # where blocks end
STRENGTHS = (0.03, 1.0)  # C of the logistic regressions
WIDTH = 64  # directions of largest variance that are kept of a layer


@threadpool_limits.wrap(limits=1, user_api="blas")
def code_lengths(
    examples: Examples,
    *,
    orderings: int = 3,
    width: int = WIDTH,
    seed: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """Return the bits that each text's label costs, layer by layer.

    Whole groups of texts (those that share a word or a meaning) enter the training part together.

    Args:
        orderings: Random orders of the groups, over which bits are averaged.
        width: States are reduced to so many directions of largest variance, without labels.
        progress: Show a bar over layers.

    Returns:
        One row per text and layer: layer, language, meaning, bits (mean over orderings), spread (standard deviation over
        orderings of the layer's mean, the same in all its rows), uniform (log2 of the number of labels).

    Raises:
        BadInput: no ordering, or fewer than two groups.
    """
    groups = split_groups(examples)
    if orderings < 1 or len(set(groups)) < 2:
        raise BadInput(
            f"{orderings} orderings of {len(set(groups))} groups of texts; give one or more, of two or more"
        )
    labels, names = pd.factorize(np.array([repr(label) for label in examples.labels]))
    generator = np.random.default_rng(seed)
    orders = [_order(groups, generator) for _ in range(orderings)]
    tables, height = [], examples.states.shape[1]
    with progress_bar(height, "code lengths", progress, unit="layer") as bar:
        for layer in range(height):
            kept = min(width, *examples.states[:, layer].shape)
            features = PCA(kept, svd_solver="full").fit_transform(
                examples.states[:, layer].astype(np.float64)
            )
            bits = np.stack([online_bits(features, labels, *order) for order in orders])
            columns = {"layer": layer, "language": examples.languages, "meaning": examples.meanings}
            columns |= {
                "bits": bits.mean(axis=0),
                "spread": bits.mean(axis=1).std(),
                "uniform": np.log2(len(names)),
            }
            tables.append(pd.DataFrame(columns))
            bar.update()
    return pd.concat(tables, ignore_index=True)


def online_bits(
    features: np.ndarray, labels: np.ndarray, order: np.ndarray, ends: Sequence[int]
) -> np.ndarray:
    """Return the bits of each text, shape (N,), for one order of the texts and the places where blocks end in it.

    Args:
        features: (N, D); labels: (N,), classes from 0.
        order: A permutation of 0 … N-1; ends: increasing, the last is N. The first block is coded uniformly.
    """
    kinds = int(labels.max()) + 1
    bits, weights = np.full(len(labels), np.log2(kinds)), np.zeros(len(STRENGTHS) + 1)
    for start, end in pairwise(ends):
        before, block = order[:start], order[start:end]
        logs = np.full((len(block), len(weights)), -np.log(kinds))
        for place, strength in enumerate(STRENGTHS):
            logs[:, place] = _log_likelihood(features, labels, before, block, kinds, strength)
        ahead = weights + np.cumsum(logs, axis=0) - logs  # what the texts before say of each probe
        bits[block] = (logsumexp(ahead, axis=1) - logsumexp(ahead + logs, axis=1)) / np.log(2)
        weights = weights + logs.sum(axis=0)
    return bits


def mean_bits(table: pd.DataFrame, *groups: str, seed: int = 0) -> pd.DataFrame:
    """Average the bits per layer (and per column in `groups`), with a 95 % bootstrap interval over meanings.

    Returns:
        The columns in `groups`, layer, bits, low, high, spread (over orderings), uniform, compression (uniform / bits).
    """
    rows = []
    for key, part in table.groupby([*groups, "layer"], sort=False):
        found = bootstrap(part["bits"], part["meaning"], draws=1000, seed=seed)
        uniform, spread = part["uniform"].iloc[0], part["spread"].iloc[0]
        rows.append((*key, found.estimate, found.low, found.high, spread, uniform, uniform / found.estimate))
    return pd.DataFrame(
        rows, columns=[*groups, "layer", "bits", "low", "high", "spread", "uniform", "compression"]
    )


def _order(groups: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, list[int]]:
    """Draw an order of groups; return that of the texts, and the ends of blocks, which are ends of groups."""
    place = generator.permutation(int(groups.max()) + 1)[groups]
    order = np.lexsort((generator.random(len(groups)), place))
    closed = np.flatnonzero(np.diff(place[order], append=-1)) + 1
    wanted = np.ceil(len(groups) * np.array(FRACTIONS)).astype(int)
    return order, sorted({int(closed[np.searchsorted(closed, most)]) for most in wanted})


def _log_likelihood(
    features: np.ndarray,
    labels: np.ndarray,
    before: np.ndarray,
    block: np.ndarray,
    kinds: int,
    strength: float,
) -> np.ndarray:
    """Return log p of the block's labels, in nats, smoothed so that a label not seen before costs no infinity."""
    seen = np.unique(labels[before])
    likelihood = np.zeros((len(block), kinds))
    if len(seen) == 1:
        likelihood[:, seen] = 1
    else:
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=200, tol=1e-3))
        likelihood[:, seen] = probe.fit(features[before], labels[before]).predict_proba(features[block])
    smoothed = (len(before) * likelihood + 1) / (len(before) + kinds)
    return np.log(smoothed[np.arange(len(block)), labels[block]])
