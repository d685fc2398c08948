"""Ask the store first, then the engine; commit batch by batch.

What `generation`, `ranking` and `hidden` have in common, so that a cached answer and a fresh one take the same way
out: what is computed is written, and what is returned has been through the store's form.
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm
from tqdm.auto import tqdm as tqdm_widget

from workbench.errors import BadInput, NotReachable
from workbench.models import Model
from workbench.store import canonical

_AT_ONCE = 2000  # requests that an engine sees at a time: enough to find equal lengths and common beginnings


@dataclass(frozen=True)
class Kind:
    """One kind of question.

    `settings` join the model's fingerprint in the key; `encode` and `decode` translate an answer to and from the store's
    form; `compute` asks the engine.
    """

    name: str
    settings: dict[str, Any]
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]
    compute: Callable[[list[Any]], Iterator[tuple[list[int], list[Any]]]]


def ask(
    model: Model, kind: Kind, requests: Sequence[Any], *, batch: int = 0, progress: bool
) -> tuple[list[Any], list[bool]]:
    """Answer every request (a dataclass each), in order; equal requests are computed once.

    Args:
        batch: how much was computed at a time, recorded with the answers.

    Returns:
        The answers, and for each whether it was computed just now.

    Raises:
        BadInput, NotReachable, StoreFailed: as the caller's docstring says; batches finished before are kept.
            Where the weights are not to be had, NotReachable says which answers are missing.
    """
    context = canonical({"kind": kind.name, **kind.settings, **model.fingerprint()})
    wanted = [canonical(vars(request)) for request in requests]
    asked = dict(zip(wanted, requests, strict=True))
    questions = list(asked)
    stored = model.store.get(context, questions)
    if model.same_device and any(stored):
        family = model.engine.device_family
        stored = [answer if answer is None or answer.device == family else None for answer in stored]
    known = {
        q: kind.decode(each.value) for q, each in zip(questions, stored, strict=True) if each is not None
    }
    missing = [question for question in questions if question not in known]
    model.count([answer.device for answer in stored if answer is not None], len(missing))
    if missing:
        done = 0
        _expect_engine(model, kind.name, [asked[question] for question in missing], len(asked))
        try:
            with _bar(len(missing), f"{kind.name} {Path(model.name).name}", progress) as bar:
                for pairs in _computed(kind, missing, asked):
                    model.expect_unchanged()
                    model.store.put(context, pairs, device=model.engine.device_family, batch_size=batch)
                    known.update((question, kind.decode(value)) for question, value in pairs)
                    done += len(pairs)
                    bar.update(len(pairs))
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"interrupted after {done} of {len(missing)} answers, which are in the store: ask again to go on"
            ) from None
    fresh = set(missing)
    return [known[question] for question in wanted], [question in fresh for question in wanted]


def _computed(kind: Kind, missing: Sequence[str], asked: dict[str, Any]) -> Iterator[list[tuple[str, Any]]]:
    """Yield batches of (question, answer in the store's form); what an engine lays out is bounded by a part."""
    for start in range(0, len(missing), _AT_ONCE):
        part = missing[start : start + _AT_ONCE]
        for positions, answers in kind.compute([asked[question] for question in part]):
            yield [(part[p], kind.encode(answer)) for p, answer in zip(positions, answers, strict=True)]


def expect_whole(name: str, value: object) -> None:
    """Refuse a size that is no whole number of at least 1.

    Raises:
        BadInput: names the parameter.
    """
    if not isinstance(value, int) or value < 1:
        raise BadInput(f"{name}={value!r}; give a whole number of at least 1")


def _expect_engine(model: Model, kind: str, todo: Sequence[Any], asked: int) -> None:
    """Read the weights; where they are not to be had, say which answers they are needed for."""
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
    """A widget in a notebook, a line in a terminal, nothing in a batch run or for a single batch of work."""
    if not progress or os.environ.get("WORKBENCH_BATCH") or total < 2:
        return tqdm(disable=True)
    if "ipykernel" in sys.modules:
        return tqdm_widget(total=total, desc=text, leave=False, unit="answer")
    return tqdm(total=total, desc=text, leave=False, unit="answer", disable=None)  # None: only on a terminal
