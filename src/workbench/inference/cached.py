"""Look answers up in the store, compute the missing ones with the engine, and commit them batch by batch.

Shared by `generation`, `ranking` and `states`. Cached and new answers take the same path: a computed answer is written to the
store, and returned after conversion to the store's form and back.
"""

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm
from tqdm.auto import tqdm as tqdm_widget

from workbench.errors import BadInput, NotReachable, StoreFailed
from workbench.models import Model
from workbench.models.engines import Capability
from workbench.models.tally import Tally
from workbench.run_log import note, noted
from workbench.store import REPAIR, Answer, Store, canonical

_PER_ENGINE_CALL = (
    2000  # requests: enough to find equal lengths and common prefixes, and bounds the memory for layouts
)


@dataclass(frozen=True)
class RequestType:
    """What the requests of one call have in common: how they are keyed, computed and stored.

    `settings` are added to the model's fingerprint in the key; `encode` and `decode` convert an answer to and from the store's
    form; `expect` raises ValueError for an answer in that form, stored or new, that no model can have produced; `compute` calls
    the engine. `may_use_float32`: an engine may compute in float32 even if the weights are in half precision.
    """

    capability: Capability
    settings: dict[str, Any]
    expect: Callable[[Any], Any]
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]
    compute: Callable[[list[Any]], Iterator[tuple[list[int], list[Any]]]]
    may_use_float32: bool = False


@dataclass(frozen=True)
class Answers:
    """The answers to the requests of a call, in order; `is_new` marks those that this call computed."""

    values: list[Any]
    is_new: list[bool]
    tally: Tally


@dataclass(frozen=True)
class _Stored:
    """The stored answers of one context, by request."""

    context: str
    answers: Mapping[str, Answer]


def answer(
    model: Model, kind: RequestType, requests: Sequence[Any], *, batch: int = 0, progress: bool
) -> Answers:
    """Answer every request (each a dataclass); equal requests are computed once.

    All answers of a call are computed in the same precision: that of the weights, or float32 if the engine prefers it for
    weights in half precision. The precision is part of the key (`arithmetic`). If the store has all answers in one of the two,
    they are used; otherwise the engine's preference decides.

    Args:
        batch: the batch size or token budget, recorded with the answers.

    Raises:
        BadInput, NotReachable, StoreFailed: as in the callers' docstrings; finished batches are kept. If the weights are
            unavailable, NotReachable lists the missing answers. BadInput is also raised for a batch with an answer that no model
            can give, and nothing of it is stored.
    """
    model.renew()
    texts = [canonical(vars(request)) for request in requests]
    unique = dict(zip(texts, requests, strict=True))
    stored = _look_up(model, kind, list(unique))
    values = _decoded(model.store, kind, stored)
    missing = {text: request for text, request in unique.items() if text not in values}
    tally = Tally(Counter(found.device for found in stored.answers.values()), len(missing))
    _record(model, tally)
    if missing:
        _expect_engine(model, kind, list(missing.values()), len(unique))
        for pairs in _computed(model, kind, missing, stored.context, batch, progress):
            values.update((text, kind.decode(value)) for text, value in pairs)
    return Answers([values[text] for text in texts], [text in missing for text in texts], tally)


def _record(model: Model, tally: Tally) -> None:
    """Add a call's tally to the handle's tally, and to the one in the run's manifest, which covers all handles of the model."""
    model.tally += tally
    known = noted().get("models", {}).get(model.label, {})
    total = Tally.from_facts(known) + tally
    note(models={model.label: {**model.provenance, **total.facts()}})


def _look_up(model: Model, kind: RequestType, texts: list[str]) -> _Stored:
    """Return the stored answers in the precision to be used.

    Raises:
        StoreFailed: some are missing and cannot be stored; raised before weights are read.
    """
    about = {"kind": kind.capability, **kind.settings, **model.fingerprint(kind.capability)}
    arithmetics = ["native", "wide"] if kind.may_use_float32 and model.dtype != "float32" else ["native"]
    contexts = [canonical({**about, "arithmetic": arithmetic}) for arithmetic in arithmetics]
    stored = [_stored(model.store, context, texts) for context in contexts]
    best = _most_complete(model, kind, stored, len(texts))
    if model.same_device and best.answers:  # the device is known only once the weights are loaded
        device = model.engine.device_family
        stored = [_stored(model.store, context, texts, device) for context in contexts]
        best = _most_complete(model, kind, stored, len(texts))
    if len(best.answers) < len(texts) and len(stored) > 1:
        with suppress(NotReachable):  # the caller reports what is missing from the best context
            return stored[model.engine.scores_wide]
    return best


def _most_complete(model: Model, kind: RequestType, stored: list[_Stored], total: int) -> _Stored:
    best = max(stored, key=lambda each: len(each.answers))
    missing = total - len(best.answers)
    if missing and model.store.is_read_only:
        raise StoreFailed(
            f"{missing} of {total} answers ({kind.capability}) are not in the store {model.store.path}, which is read-only here, "
            "and answers are stored before they are returned: set WORKBENCH_STORE to a writable file "
            f"(`workbench store import {model.store.path}` copies the stored answers into it)"
        )
    return best


def _stored(store: Store, context: str, texts: list[str], device: str | None = None) -> _Stored:
    answers = zip(texts, store.get(context, texts, device=device), strict=True)
    return _Stored(context, {text: found for text, found in answers if found is not None})


def _decoded(store: Store, kind: RequestType, stored: _Stored) -> dict[str, Any]:
    """Return the stored answers as values.

    Raises:
        StoreFailed: no model can have produced one of them, although its checksum matches.
    """
    try:
        return {text: kind.decode(kind.expect(found.value)) for text, found in stored.answers.items()}
    except ValueError as error:
        raise StoreFailed(
            f"the store {store.path} holds an answer ({kind.capability}) that no model can produce: {error}; {REPAIR}"
        ) from error


def _computed(
    model: Model, kind: RequestType, missing: dict[str, Any], context: str, batch: int, progress: bool
) -> Iterator[list[tuple[str, Any]]]:
    """Yield batches of (request, answer in the store's form) after each is committed."""
    texts, done = list(missing), 0
    label = f"{kind.capability} {Path(model.name).name}"
    with model.computing() as engine, progress_bar(len(texts), label, progress) as bar:
        try:
            for start in range(0, len(texts), _PER_ENGINE_CALL):
                part = texts[start : start + _PER_ENGINE_CALL]
                left = dict(enumerate(part))
                for positions, answers in kind.compute([missing[text] for text in part]):
                    pairs = _taken(model, kind, left, positions, answers)
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
                if left:
                    raise _impossible(model, kind, f"{len(left)} of {len(part)} requests have none")
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"interrupted after {done} of {len(texts)} answers, which are in the store: repeat the call to continue"
            ) from None


def _taken(
    model: Model, kind: RequestType, left: dict[int, str], positions: Sequence[int], answers: Sequence[Any]
) -> list[tuple[str, Any]]:
    """Take a finished batch out of the requests that are left, and return (request, answer in the store's form) pairs.

    Raises:
        BadInput: an answer to no request or to one that was answered, a request without an answer, or an answer that no model
            can give.
    """
    if len(positions) != len(answers) or len({*positions} & left.keys()) < len(positions):
        raise _impossible(model, kind, f"{len(answers)} came to the requests {list(positions)[:8]}")
    try:
        return [
            (left.pop(p), kind.expect(kind.encode(found)))
            for p, found in zip(positions, answers, strict=True)
        ]
    except (ValueError, TypeError, AttributeError) as error:  # of another type than an answer has
        raise _impossible(model, kind, str(error)) from error


def _impossible(model: Model, kind: RequestType, reason: str) -> BadInput:
    return BadInput(
        f"the engine {model.spec.kind!r} gave answers ({kind.capability}) for {model.name} that no model can give, which are not "
        f"stored: {reason}; repair the engine or the weights"
    )


def _expect_engine(model: Model, kind: RequestType, missing: Sequence[Any], total: int) -> None:
    """Load the weights; if they are unavailable, raise an error that names the missing answers."""
    try:
        _ = model.engine
    except NotReachable as error:
        fields = map(vars, missing)
        prompts = tuple(str(each.get("prompt") or each.get("text", "")) for each in fields)
        raise NotReachable(
            f"{len(missing)} of {total} answers ({kind.capability}) are not in the store {model.store.path}; the first missing "
            f"one is for {prompts[0][:80]!r}; {error}",
            prompts,
        ) from error


def progress_bar(total: int, text: str, progress: bool, unit: str = "answer") -> Any:
    """Return a progress bar: a widget in a notebook, a line in a terminal, none in a batch run or for a single unit."""
    if not progress or os.environ.get("WORKBENCH_BATCH") or total < 2:
        return tqdm(disable=True)
    if "ipykernel" in sys.modules:
        return tqdm_widget(total=total, desc=text, leave=False, unit=unit)
    return tqdm(total=total, desc=text, leave=False, unit=unit, disable=None)  # None: only on a terminal
