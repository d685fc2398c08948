"""Populations of right and wrong answers whose truth is known, from which samples are drawn to try an estimator on.

Two systems answer the same items. Each outcome has a uniform luck, and is right if the luck is below the rate. An outcome draws its
own luck, or copies that of its cluster, of its language or of its wording in its cluster; so the rates are exact, whatever
hangs together, and two outcomes that can copy only one source have exactly that source's correlation.

Source: the copying after Lunn & Davies 1998, Biometrika 85.
"""

from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from workbench.errors import BadInput
from workbench.stats.arrays import Floats

Estimand = Literal["rate", "difference", "spread"]
Labels = NDArray[np.intp]


@dataclass(frozen=True)
class Sample:
    """Outcomes (1 right, 0 wrong) of two systems on N items, and the labels of the items, each of shape (N,)."""

    first: Floats
    second: Floats
    cluster: Labels
    language: Labels
    wording: Labels

    def columns(self) -> dict[str, NDArray]:
        """Return the columns of a tidy table, for `pandas.DataFrame`."""
        return dict(vars(self))

    def matrix(self, rows: str = "cluster", columns: str = "wording", value: str = "first") -> Floats:
        """Return the mean outcome by two labels, shape (number of rows, number of columns)."""
        row, column = getattr(self, rows), getattr(self, columns)
        shape = (row.max() + 1, column.max() + 1)
        flat = np.ravel_multi_index((row, column), shape)
        sums = np.bincount(flat, getattr(self, value), minlength=shape[0] * shape[1])
        return (sums / np.bincount(flat, minlength=sums.size)).reshape(shape)


@dataclass(frozen=True, kw_only=True)
class Organism:
    """A population: clusters (questions) x languages x wordings x items, answered by two systems.

    Attributes:
        name: What to call it; by default what it differs in.
        size: Items of each combination of cluster, language and wording.
        correlation: Between outcomes of a cluster; 1 if a cluster is right or wrong as a whole.
        rate: Probability that the first system is right.
        effect: How much likelier the second system is right; its rate is `rate + effect`.
        alike: Share of the items in which both systems have the same luck; 1 for as few disagreements as the effect allows.
        uneven: Clusters have 1 to 2 `size` - 1 items instead of `size`.
        language_correlation: Between outcomes in one language, beyond that of clusters; few languages are then few facts.
        wording_correlation: Between outcomes of a cluster in one wording, beyond that of the cluster: wordings are nested.
        spread: Range of the wordings' rates, evenly spaced around `rate`.
    """

    name: str = ""
    clusters: int = 40
    size: int = 1
    correlation: float = 0.0
    rate: float = 0.5
    effect: float = 0.0
    alike: float = 0.0
    uneven: bool = False
    languages: int = 1
    language_correlation: float = 0.0
    wordings: int = 1
    wording_correlation: float = 0.0
    spread: float = 0.0

    def __post_init__(self) -> None:
        if min(self.clusters, self.size, self.languages, self.wordings) < 1:
            raise BadInput(f"{self} has no items; give at least one cluster, item, language and wording")
        if (
            not all(0 <= each <= 1 for each in (*self._correlations, self.alike))
            or sum(self._shares) > 1 + 1e-9
        ):
            raise BadInput(
                f"{self} cannot be drawn; give correlations and `alike` from 0 to 1, square roots of correlations of sum 1 at most"
            )
        reach = self.spread / 2
        if not reach <= self.rate <= 1 - reach or not reach <= self.rate + self.effect <= 1 - reach:
            raise BadInput(f"{self} has rates outside 0 to 1; give a smaller effect or spread")

    @property
    def _correlations(self) -> tuple[float, float, float]:
        return self.correlation, self.language_correlation, self.wording_correlation

    @property
    def _shares(self) -> tuple[float, ...]:
        """Shares of the outcomes that copy a source: two of them both copy it with the probability `share ** 2`."""
        return tuple(float(np.sqrt(one)) for one in self._correlations)

    @property
    def label(self) -> str:
        """The name, or the number of clusters and items and what differs from the default."""
        if self.name:
            return self.name
        parts = [f"{self.clusters} clusters x {self.size}{' uneven' if self.uneven else ''}"]
        plain = Organism()
        names = (
            "languages",
            "wordings",
            "correlation",
            "language_correlation",
            "wording_correlation",
            "rate",
        )
        for name in (*names, "effect", "alike", "spread"):
            if name == "rate" or getattr(self, name) != getattr(plain, name):
                parts.append(f"{name.replace('_', ' ')} {getattr(self, name):g}")
        return ", ".join(parts)

    def truth(self, estimand: Estimand) -> float:
        """Return the first system's rate, the second's minus it, or the range over wordings; fractions."""
        return {"rate": self.rate, "difference": self.effect, "spread": self.spread}[estimand]

    def draw(self, generator: np.random.Generator) -> Sample:
        """Draw the outcomes of one sample."""
        cluster, language, wording = _labels(self)
        nested = cluster * self.wordings + wording
        luck = generator.random((3, cluster.size))
        source, start = generator.random(cluster.size), 0.0
        for share, labels in zip(self._shares, (cluster, language, nested), strict=True):
            if share:
                shared = generator.random((3, labels.max() + 1))[:, labels]
                luck = np.where((start <= source) & (source < start + share), shared, luck)
                start += share
        steps = np.linspace(-0.5, 0.5, self.wordings) if self.wordings > 1 else np.zeros(1)
        rates = self.rate + self.spread * steps[wording]
        mine, others, which = luck
        second = np.where(which < self.alike, mine, others) < rates + self.effect
        return Sample((mine < rates).astype(float), second.astype(float), cluster, language, wording)


def default_grid() -> tuple[Organism, ...]:
    """Return one organism for each way in which estimators are known to fail, all with an even number of effects and nulls."""
    return (
        Organism(name="independent", clusters=200, alike=0.5),
        Organism(name="independent, effect", clusters=200, alike=0.5, effect=0.15),
        Organism(name="clustered", clusters=24, size=15, correlation=0.5),
        Organism(name="clustered, effect", clusters=24, size=15, correlation=0.5, effect=0.3),
        Organism(name="few whole clusters", clusters=8, size=6, correlation=1, rate=0.3),
        Organism(name="uneven clusters", clusters=30, size=5, correlation=0.5, rate=0.4, uneven=True),
        Organism(name="rare discordance", clusters=24, size=5, correlation=1, rate=0.95, effect=0.03, alike=0.8),
        Organism(name="rare discordance, null", clusters=63, size=2, rate=0.8, alike=0.97),
        Organism(name="ceiling", clusters=40, size=5, correlation=0.4, rate=0.98, alike=0.5),
        Organism(name="floor", clusters=40, size=5, correlation=0.4, rate=0.02, alike=0.5),
        Organism(name="nested wordings", clusters=20, size=3, wordings=5, correlation=0.1, wording_correlation=0.4),
        Organism(name="few languages", clusters=30, languages=6, correlation=0.1, language_correlation=0.1),
    )  # fmt: skip


def full_grid() -> tuple[Organism, ...]:
    """Return 8 to 200 clusters of 5 x correlations 0 to 1 x rates .02 to .98, without and with an effect of 5 points."""
    grid = product((8, 12, 24, 63, 200), (0.0, 0.1, 0.5, 1.0), (0.02, 0.1, 0.5, 0.9, 0.98), (0.0, 0.05))
    return tuple(
        Organism(clusters=k, size=5, correlation=r, rate=p, effect=e if p < 0.9 else -e, alike=0.8)
        for k, r, p, e in grid
    )


@cache
def _labels(organism: Organism) -> tuple[Labels, Labels, Labels]:
    shape = (organism.clusters, organism.languages, organism.wordings)
    combination = np.arange(np.prod(shape))
    sizes = np.full(combination.size, organism.size)
    if organism.uneven:
        per_cluster = np.resize([1, 2 * organism.size - 1], organism.clusters)
        sizes = np.repeat(per_cluster, combination.size // organism.clusters)
    cluster, language, wording = np.unravel_index(np.repeat(combination, sizes), shape)
    return cluster, language, wording
