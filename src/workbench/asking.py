"""Ask the store first, then the engine; commit batch by batch.

What `generation`, `ranking` and `hidden` have in common, so that a cached answer and a fresh one take the same way
out: what is computed is written, and what is returned has been through the store's form.
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm
from tqdm.auto import tqdm as tqdm_widget

from workbench.errors import BadInput, NotReachable
from workbench.models import Model
from workbench.store import canonical


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


def ask(model: Model, kind: Kind, requests: Sequence[Any], *, batch_size: int, progress: bool) -> list[Any]:
    """Answer every request (a dataclass each), in order; equal requests are computed once.

    Raises:
        BadInput, NotReachable, StoreFailed: as the caller's docstring says; batches finished before are kept.
            Where the weights are not to be had, NotReachable says which answers are missing.
    """
    if not isinstance(batch_size, int) or batch_size < 1:
        raise BadInput(f"batch_size={batch_size!r}; give a whole number of at least 1")
    context = canonical({"kind": kind.name, **kind.settings, **model.fingerprint()})
    asked = {canonical(asdict(request)): request for request in requests}
    questions = list(asked)
    stored = model.store.get(context, questions)
    if model.same_device and any(stored):
        family = model.engine.device_family
        stored = [answer if answer is None or answer.device == family else None for answer in stored]
    known = {q: answer.value for q, answer in zip(questions, stored, strict=True) if answer is not None}
    missing = [question for question in questions if question not in known]
    model.count([answer.device for answer in stored if answer is not None], len(missing))
    if missing:
        todo = [asked[question] for question in missing]
        _expect_engine(model, kind.name, [asdict(request) for request in todo], len(asked))
        with _bar(len(missing), f"{kind.name} {Path(model.name).name}", progress) as bar:
            for positions, answers in kind.compute(todo):
                pairs = [(missing[p], kind.encode(a)) for p, a in zip(positions, answers, strict=True)]
                model.store.put(context, pairs, device=model.engine.device_family, batch_size=batch_size)
                known.update(pairs)
                bar.update(len(pairs))
    decoded = {question: kind.decode(value) for question, value in known.items()}
    return [decoded[canonical(asdict(request))] for request in requests]


def _expect_engine(model: Model, kind: str, todo: list[dict[str, Any]], asked: int) -> None:
    """Read the weights; where they are not to be had, say which answers they are needed for."""
    try:
        _ = model.engine
    except NotReachable as error:
        prompts = tuple(str(request.get("prompt") or request.get("text", "")) for request in todo)
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
