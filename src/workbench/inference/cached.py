"""Look answers up in the store, compute the missing ones with the engine, and commit them batch by batch.

Shared by `generation`, `ranking` and `states`. Cached and new answers take the same path: a computed answer is written to the
store, and what is returned has been converted to the store's form and back.
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm
from tqdm.auto import tqdm as tqdm_widget

from workbench.errors import NotReachable, StoreFailed
from workbench.models import Model
from workbench.models.engines import Capability
from workbench.store import Answer, Store, canonical

_AT_ONCE = 2000  # requests per call of the engine: enough to find equal lengths and common prefixes


@dataclass(frozen=True)
class Kind:
    """One kind of question.

    `settings` are added to the model's fingerprint in the key; `encode` and `decode` convert an answer to and from the store's
    form; `compute` calls the engine. `may_be_wide`: an engine may compute it in float32 although the weights are not.
    """

    name: Capability
    settings: dict[str, Any]
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]
    compute: Callable[[list[Any]], Iterator[tuple[list[int], list[Any]]]]
    may_be_wide: bool = False


@dataclass(frozen=True)
class _Stored:
    """The stored answers of a context, by question."""

    context: str
    answers: dict[str, Answer]


def ask(
    model: Model, kind: Kind, requests: Sequence[Any], *, batch: int = 0, progress: bool
) -> tuple[list[Any], list[bool]]:
    """Answer every request (each a dataclass), in order; equal requests are computed once.

    All answers of a call use one arithmetic: that of the weights, or float32 if the engine prefers it for weights in half
    precision. The arithmetic is part of the key. If the store has all answers in one of the two, these are used; otherwise the
    engine's own arithmetic is.

    Args:
        batch: the batch size or token budget, recorded with the answers.

    Returns:
        The answers, and for each whether it was computed by this call.

    Raises:
        BadInput, NotReachable, StoreFailed: as in the callers' docstrings; finished batches are kept. If the weights are
            unavailable, NotReachable lists the missing answers.
    """
    wanted = [canonical(vars(request)) for request in requests]
    asked = dict(zip(wanted, requests, strict=True))
    stored = _look(model, kind, list(asked))
    known = {question: kind.decode(answer.value) for question, answer in stored.answers.items()}
    missing = [question for question in asked if question not in known]
    model.count([answer.device for answer in stored.answers.values()], len(missing))
    if missing:
        todo = {question: asked[question] for question in missing}
        _expect_engine(model, kind.name, list(todo.values()), len(asked))
        for pairs in _computed(model, kind, todo, stored.context, batch, progress):
            known.update((question, kind.decode(value)) for question, value in pairs)
    fresh = set(missing)
    return [known[question] for question in wanted], [question in fresh for question in wanted]


def _look(model: Model, kind: Kind, questions: list[str]) -> _Stored:
    """Look the questions up under each arithmetic that may have been used."""
    about = {"kind": kind.name, **kind.settings, **model.fingerprint(kind.name)}
    ways = ["native", "wide"] if kind.may_be_wide and model.dtype != "float32" else ["native"]
    contexts = [canonical({**about, "arithmetic": way}) for way in ways]
    found = [_stored(model.store, context, questions) for context in contexts]
    best = _most(model, kind, found, len(questions))
    if model.same_device and best.answers:  # the device is known only once the weights are loaded
        device = model.engine.device_family
        found = [_stored(model.store, context, questions, device) for context in contexts]
        best = _most(model, kind, found, len(questions))
    if len(best.answers) < len(questions) and len(found) > 1:
        with suppress(NotReachable):  # the caller reports what is missing from the best context
            return found[model.engine.scores_wide]
    return best


def _most(model: Model, kind: Kind, found: list[_Stored], asked: int) -> _Stored:
    """Return the context with the most answers; raise before weights are read if some are missing and cannot be stored."""
    best = max(found, key=lambda each: len(each.answers))
    missing = asked - len(best.answers)
    if missing and model.store.is_read_only:
        raise StoreFailed(
            f"{missing} of {asked} answers ({kind.name}) are not in the store {model.store.path}, which is read-only here, and "
            "an answer is stored before it is returned: set WORKBENCH_STORE to a writable file "
            f"(`workbench store import {model.store.path}` takes in what is stored)"
        )
    return best


def _stored(store: Store, context: str, questions: list[str], device: str | None = None) -> _Stored:
    """Look the questions up in one context."""
    answers = zip(questions, store.get(context, questions, device=device), strict=True)
    return _Stored(context, {question: answer for question, answer in answers if answer is not None})


def _computed(
    model: Model, kind: Kind, todo: dict[str, Any], context: str, batch: int, progress: bool
) -> Iterator[list[tuple[str, Any]]]:
    """Yield batches of (question, answer in the store's form) after each is committed."""
    questions, done = list(todo), 0
    with model.at_work() as engine, _bar(len(todo), f"{kind.name} {Path(model.name).name}", progress) as bar:
        try:
            for start in range(0, len(todo), _AT_ONCE):  # bounds the engine's memory for layouts
                part = questions[start : start + _AT_ONCE]
                for positions, answers in kind.compute([todo[question] for question in part]):
                    pairs = [
                        (part[p], kind.encode(answer)) for p, answer in zip(positions, answers, strict=True)
                    ]
                    model.expect_unchanged()
                    model.store.put(
                        context,
                        pairs,
                        device=engine.device_family,
                        batch_size=batch,
                        libraries=engine.libraries,
                    )
                    done += len(pairs)
                    bar.update(len(pairs))
                    yield pairs
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"interrupted after {done} of {len(todo)} answers, which are in the store: ask again to go on"
            ) from None


def _expect_engine(model: Model, kind: str, todo: Sequence[Any], asked: int) -> None:
    """Load the weights; if they are unavailable, raise an error that names the missing answers."""
    try:
        _ = model.engine
    except NotReachable as error:
        asks = map(vars, todo)
        prompts = tuple(str(request.get("prompt") or request.get("text", "")) for request in asks)
        raise NotReachable(
            f"{len(todo)} of {asked} answers ({kind}) are not in the store {model.store.path}, the first to {prompts[0][:80]!r}; "
            f"{error}",
            prompts,
        ) from error


def _bar(total: int, text: str, progress: bool) -> Any:
    """Return a widget in a notebook, a line in a terminal, and no bar in a batch run or for a single answer."""
    if not progress or os.environ.get("WORKBENCH_BATCH") or total < 2:
        return tqdm(disable=True)
    if "ipykernel" in sys.modules:
        return tqdm_widget(total=total, desc=text, leave=False, unit="answer")
    return tqdm(total=total, desc=text, leave=False, unit="answer", disable=None)  # None: only on a terminal
