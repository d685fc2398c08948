"""Rank a plan's items with one model: loaded once, told how long it takes, stopped and started again at will.

Every finished batch is in the store, so a second start asks only what is missing.
"""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pandas as pd

from workbench.errors import NotReachable
from workbench.evaluation.planning import Forecast, Plan, forecast
from workbench.models import Model
from workbench.ranking import rank
from workbench.tasks import Item

SAMPLE = 32  # prompts that are timed before the rest
_CHUNK = 512  # prompts between two reports


def evaluate(
    model: Model,
    plan: Plan,
    *,
    protocol: str | None = None,
    batch_tokens: int | None = None,
    report: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Rank all items of a plan.

    Args:
        report: told the forecast before the bulk starts, then the progress, a line each.

    Returns:
        The table of `workbench.ranking.rank`, in the order of the plan, with the columns prompt_language, wordings, digest
        (of the template), shots, dtype and contaminated.

    Raises:
        NotReachable: no weights, and answers are missing; the message says of which languages and wordings.
        BadInput, StoreFailed: as `rank`; what was scored stays in the store.
    """
    say = report or (lambda _: None)
    if model.identity.folder is None:
        parts = [_from_store(model, plan, protocol)]
    else:
        parts = list(_in_chunks(model, plan, protocol, batch_tokens, say))
    table = (
        pd.concat(parts, ignore_index=True)
        .set_index("id")
        .loc[[item.id for item in plan.items]]
        .reset_index()
    )
    digest = {(template.language, template.name): template.digest for template in plan.templates}
    by_name = {template.name: template.digest for template in plan.templates}
    keys = zip(table["language"], table["template"], strict=True)
    return table.assign(
        prompt_language=plan.prompt_language,
        wordings=plan.wordings,
        digest=[digest.get(key, by_name[key[1]]) for key in keys],
        shots=plan.shots,
        dtype=model.dtype,
        contaminated=plan.contaminated,
    )


def describe(expected: Forecast) -> str:
    """A forecast in a sentence."""
    size = f"{expected.weights / 1e9:.3g} GB of weights" if expected.weights else "weights of unknown size"
    here = f"{expected.memory / 1e9:.3g} GB in this machine{' (too little)' * (expected.weights > expected.memory)}"
    text = f"{expected.prompts:,} prompts, {expected.requests:,} choices, {expected.characters:,} characters; {size}, {here}"
    if expected.seconds is None:
        return text
    return f"{text}; about {_spoken(expected.seconds)} at the pace of the first prompts"


def _from_store(model: Model, plan: Plan, protocol: str | None) -> pd.DataFrame:
    """Weights are not here: everything at once, so that all that is missing is told at once."""
    try:
        return rank(model, plan.items, protocol=protocol)
    except NotReachable as error:
        missing = set(error.missing)
        lost: dict[str, int] = {}
        for item in plan.items:
            if item.prompt in missing:
                cell = f"{item.task} in {item.language}, {item.template!r}"
                lost[cell] = lost.get(cell, 0) + 1
        cells = "; ".join(f"{cell}: {count}" for cell, count in list(lost.items())[:12])
        more = f"; and {len(lost) - 12} more" if len(lost) > 12 else ""
        raise NotReachable(
            f"no answers of {model.name} to {cells}{more} prompts; {error}", error.missing
        ) from error


@dataclass
class _Pace:
    """How quickly characters were scored, of those that had to be."""

    left: int
    computed: int = 0
    seconds: float = 0.0

    def add(self, size: int, seconds: float, *, fresh: bool) -> None:
        """Count a chunk as done; only a fresh one tells the pace."""
        self.left -= size
        if fresh:
            self.computed, self.seconds = self.computed + size, self.seconds + seconds

    def time_for(self, size: int) -> float | None:
        """Seconds that so many characters take, None before anything was computed."""
        return self.seconds / self.computed * size if self.computed else None


def _in_chunks(
    model: Model, plan: Plan, protocol: str | None, batch_tokens: int | None, say: Callable[[str], None]
) -> Iterator[pd.DataFrame]:
    expected, asked = forecast(model, plan), 0
    pace = _Pace(expected.characters)
    say(describe(expected))
    for number, chunk in enumerate(_chunks(plan.items)):
        if number == 0:  # reads the weights, which is not to be timed
            rank(model, chunk[:1], protocol=protocol, batch_tokens=batch_tokens, progress=False)
        before, started = model.misses, time.monotonic()
        yield rank(model, chunk, protocol=protocol, batch_tokens=batch_tokens, progress=False)
        size = sum(len(item.prompt) + len(choice) for item in chunk for choice in item.choices)
        pace.add(size, time.monotonic() - started, fresh=model.misses > before)
        asked += len(chunk)
        if number == 0:
            say(describe(replace(expected, seconds=pace.time_for(expected.characters))))
        else:
            say(f"{asked:,} of {expected.prompts:,} prompts; {_rest(pace)}")


def _rest(pace: _Pace) -> str:
    """What is left; answers that the store has make it less."""
    seconds = pace.time_for(pace.left)
    if not pace.left:
        return "done"
    return "all from the store so far" if seconds is None else f"at most {_spoken(seconds)} left"


def _chunks(items: tuple[Item, ...]) -> Iterator[list[Item]]:
    """A small sample first, then larger chunks; meanings shuffled, so that each chunk is like the whole."""
    clusters = sorted({item.cluster for item in items})
    random.Random(0).shuffle(clusters)
    place = {cluster: number for number, cluster in enumerate(clusters)}
    waiting = sorted(items, key=lambda item: place[item.cluster])
    yield waiting[:SAMPLE]
    for start in range(SAMPLE, len(waiting), _CHUNK):
        yield waiting[start : start + _CHUNK]


def _spoken(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )
