"""Languages in which the length of the choices alone says more than chance which of them is right."""

from collections.abc import Sequence

import numpy as np

from workbench import stats
from workbench.studies.sensitivity import guessed, shortest_is_right
from workbench.tasks import Item


def lengths_that_tell(items: Sequence[Item]) -> dict[str, tuple[float, float]]:
    """Return the languages where taking the shortest choice differs from chance: its accuracy, and chance.

    The 95 % interval of its accuracy, over meanings, leaves chance out. Languages of few items are thus rarely named.
    """
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for item in items:
        if item.gold is not None and item.choices:
            pair = shortest_is_right(item.choices, item.gold), guessed(item.choices)
            found.setdefault(item.language, {}).setdefault(item.cluster, []).append(pair)
    telling = {}
    for code, clusters in found.items():
        means = np.array([np.mean(pairs, axis=0) for pairs in clusters.values()])
        if len(means) < 2:
            continue
        interval, chance = stats.bootstrap(means[:, 0], list(clusters)), float(means[:, 1].mean())
        if not interval.low <= chance <= interval.high:
            telling[code] = (interval.estimate, chance)
    return telling
