"""Try a student's estimator, in a process apart, on populations whose difference is known."""

from collections.abc import Sequence
from typing import Any

from workbench.errors import BadInput
from workbench.grading.sandbox import Limits, Returned, call_apart
from workbench.stats.audit import Cell, audit
from workbench.stats.organisms import Organism, Sample

DRAWS = 150  # samples of each population
COVERED = 0.90  # a percentile bootstrap over 24 clusters covers 92 %, one over items 60
FOUND = 0.8  # share of the samples in which a large difference is found; a t interval finds it in 98 %
LARGE = "clustered, large difference"
POPULATIONS = (
    Organism(name="independent items", clusters=120, alike=0.5),
    Organism(name="clustered", clusters=24, size=10, correlation=0.5),
    Organism(name=LARGE, clusters=24, size=10, correlation=0.5, effect=0.45),
    Organism(name="uneven clusters", clusters=30, size=5, correlation=0.5, rate=0.4, uneven=True),
)


def audit_apart(code: Sequence[str], function: str, limits: Limits, seed: int) -> list[Cell]:
    """Return bias, coverage and power of a function (first, second, cluster) -> {"estimate", "low", "high"}.

    Args:
        code: As for `call_apart`.

    Raises:
        BadInput: it fails on some sample, or returns something else; the message is for the student.
    """
    calls: list[tuple[Any, ...]] = []

    def collect(sample: Sample) -> tuple[float, float]:
        calls.append((sample.first, sample.second, sample.cluster))
        return 0.0, 0.0

    how: dict[str, Any] = {"draws": DRAWS, "seed": seed, "progress": False}
    audit(collect, POPULATIONS, **how)
    found = iter(call_apart(code, function, calls, limits))
    return audit(lambda _: _interval(next(found)), POPULATIONS, **how)  # the same samples in the same order


def _interval(returned: Returned) -> tuple[float, ...]:
    if returned.failure:
        raise BadInput(returned.failure)
    try:
        return tuple(float(returned.value[name]) for name in ("estimate", "low", "high"))
    except (TypeError, KeyError, ValueError) as error:
        raise BadInput("What it returned is not of the kind that the text asks for.") from error
