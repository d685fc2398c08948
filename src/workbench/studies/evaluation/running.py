"""Rank a plan's items with one model, which is loaded once; the duration is forecast, and the run can be interrupted.

Every finished batch is in the store, so a second start asks only what is missing.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import pairwise

import pandas as pd

from workbench.errors import NotReachable
from workbench.inference.ranking import rank
from workbench.models import Model
from workbench.studies.evaluation.planning import Forecast, Plan, characters, forecast
from workbench.tasks import Item

SAMPLE = 32  # prompts that are timed first
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
        report: Called with lines of text: a forecast before most of the work, then the progress.

    Returns:
        The table of `workbench.inference.ranking.rank`, in the order of the plan, with the columns prompt_language, wordings,
        digest (of the template), shots, dtype and contaminated.

    Raises:
        NotReachable: no weights, and answers are missing; the message says of which languages and wordings.
        BadInput, StoreFailed: as `rank`; what was scored stays in the store.
    """
    say = report or (lambda _: None)
    for name, count in plan.skipped.items():
        say(f"template {name!r} renders nothing for {count} rows, which are skipped")
    if not model.identity.is_available:
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
    """Return a forecast as one line of text."""
    size = f"{expected.weights / 1e9:.3g} GB of weights" if expected.weights else "weights of unknown size"
    here = f"{expected.memory / 1e9:.3g} GB in this machine{' (too little)' * (expected.weights > expected.memory)}"
    text = f"{expected.prompts:,} prompts, {expected.requests:,} choices, {expected.characters:,} characters; {size}, {here}"
    if expected.seconds is None:
        return text
    return f"{text}; about {_spoken(expected.seconds)} at the pace of the first prompts"


def _from_store(model: Model, plan: Plan, protocol: str | None) -> pd.DataFrame:
    """Rank without weights: all items in one call, so that the error lists everything that is missing."""
    try:
        return rank(model, plan.items, protocol=protocol)
    except NotReachable as error:
        missing = set(error.missing)
        asked = (item for item in plan.items if item.prompt in missing)
        lost = Counter(f"{item.task} in {item.language}, {item.template!r}" for item in asked)
        cells = "; ".join(f"{cell}: {count}" for cell, count in list(lost.items())[:12])
        more = f"; and {len(lost) - 12} more" if len(lost) > 12 else ""
        raise NotReachable(
            f"no answers of {model.name} to {cells}{more} prompts; {error}", error.missing
        ) from error


def _in_chunks(
    model: Model, plan: Plan, protocol: str | None, batch_tokens: int | None, say: Callable[[str], None]
) -> Iterator[pd.DataFrame]:
    ask = partial(rank, model, protocol=protocol, batch_tokens=batch_tokens, progress=False)
    expected = forecast(model, plan)
    say(describe(expected))
    left, asked, computed, seconds = expected.characters, 0, 0, 0.0
    first, *chunks = _chunks(plan.items)
    yield ask(first)  # not timed, since it also reads the weights
    left, asked = left - characters(first), len(first)
    for number, chunk in enumerate(chunks):
        before, started = model.tally.misses, time.monotonic()
        yield ask(chunk)
        size = characters(chunk)
        left, asked = left - size, asked + len(chunk)
        if model.tally.misses > before:  # answers from the store are not timed
            computed, seconds = computed + size, seconds + time.monotonic() - started
        pace = seconds / computed if computed else None
        if number == 0:
            whole = None if pace is None else pace * expected.characters
            say(describe(replace(expected, seconds=whole)))
        else:
            say(f"{asked:,} of {expected.prompts:,} prompts; {_rest(left, pace)}")


def _rest(left: int, pace: float | None) -> str:
    """Return the time left at this pace (seconds per character), an upper bound since the store may have answers."""
    if not left:
        return "done"
    return "all from the store so far" if pace is None else f"at most {_spoken(pace * left)} left"


def _chunks(items: tuple[Item, ...]) -> Iterator[list[Item]]:
    """Yield one item, a small sample, then larger chunks; meanings are shuffled, so that chunks are alike."""
    clusters = sorted({item.cluster for item in items})
    random.Random(0).shuffle(clusters)
    place = {cluster: number for number, cluster in enumerate(clusters)}
    waiting = sorted(items, key=lambda item: place[item.cluster])
    bounds = [0, 1, *range(SAMPLE + 1, len(waiting), _CHUNK), len(waiting)]
    yield from (waiting[start:end] for start, end in pairwise(bounds) if start < end)


def _spoken(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
