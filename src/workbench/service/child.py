"""The process of one model: reads orders (requests to compute) from its input, and writes frames of answers to its output.

It is started with `python -m workbench.service.child`; the first order names the model. Orders are processed one at a time. The
process ends as soon as its input ends, even during a computation, so that it never outlives the service.
"""

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from threading import Thread
from typing import Any, BinaryIO, cast

from workbench.engines.client import Wanted, wanted
from workbench.engines.client.frames import pack, pack_answers, read
from workbench.errors import ServiceFailed, WorkbenchError
from workbench.models import Dtype, Model, Quantization, load
from workbench.models.affine_lens import AffineLens
from workbench.models.engines import DEFAULT, Engine, OpenEngine, WatchedEngine
from workbench.models.free_memory import free_memory
from workbench.models.interventions import Intervention
from workbench.models.memory import OFFLOAD, forecast
from workbench.models.requests import (
    AnsweredPositions,
    ComputeOptions,
    Decoding,
    ScoringRule,
    StateOptions,
    TextPositions,
    ToCount,
    ToGenerate,
    ToLens,
    ToScore,
)
from workbench.service.completions import complete


class Child:
    """Reads orders in a thread of its own, and answers them in turn."""

    def __init__(self, orders: BinaryIO, replies: BinaryIO) -> None:
        self._orders, self._replies = orders, replies
        self._waiting: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self._stopped: set[int] = set()

    def run(self) -> None:
        """Open the model that the first order names, then answer until the input ends."""
        Thread(target=self._listen, daemon=True).start()
        warnings.simplefilter("always", UserWarning)  # so that every client gets the warning
        warnings.showwarning = lambda message, *_, **__: self._send(pack({"warning": str(message)}))
        with _reported(self._send) as opened:
            model = self._opened(Wanted.read(self._waiting.get()["wanted"]))
            engine = model.engine
            opened.update(
                device_family=engine.device_family, libraries=engine.libraries, scores_wide=engine.scores_wide
            )
        if not opened:
            return
        while True:
            order = self._waiting.get()
            with _reported(self._send), suppress(_Stopped):
                self._answer(model, engine, order)

    def _listen(self) -> None:
        while (frame := read(self._orders)) is not None:
            _, order, _ = frame
            if "stop" in order:
                self._stopped.add(order["stop"])
            else:
                self._waiting.put(order)
        os._exit(0)

    def _send(self, frame: bytes) -> None:
        self._replies.write(frame)
        self._replies.flush()

    def _opened(self, asked: Wanted) -> Model:
        """Load a model, once the service has made room for it.

        Raises:
            ServiceFailed: it is not the requested model, or there is not enough memory.
        """
        model = load(
            asked.name, dtype=cast(Dtype, asked.dtype), device=asked.device, revision=asked.revision, random_seed=asked.random_seed,
            engine=asked.kind, quantization=cast(Quantization | None, asked.quantization),
        )  # fmt: skip
        if (difference := asked.difference(wanted(model))) is not None:
            raise ServiceFailed(f"the model service has a different {asked.name} ({difference})")
        needs = forecast(model.identity, asked.dtype, quantization=asked.quantization).total
        device = asked.device if asked.kind == DEFAULT else "cpu"
        while True:
            free = free_memory(device)
            needs = min(needs, free) if device == OFFLOAD else needs
            self._send(pack({"needs": needs, "free": free}))
            answer = self._waiting.get()
            if "refused" in answer:
                raise ServiceFailed(answer["refused"])
            if answer["load"]:
                break
        model.__dict__["engine"] = model.fresh_engine()
        return model

    def _answer(self, model: Model, engine: Engine, order: dict[str, Any]) -> None:
        def send(frame: bytes) -> None:
            self._send(frame)
            if order["number"] in self._stopped:  # its client has disconnected
                self._stopped.discard(order["number"])
                raise _Stopped

        order["watch"] = lambda position, text: send(pack({"so_far": [position, text]}))
        for frame in _frames(engine, order):
            model.expect_unchanged()
            send(frame)


class _Stopped(Exception):
    """The client of an order has disconnected."""


@contextmanager
def _reported(send: Callable[[bytes], None]) -> Iterator[dict[str, Any]]:
    """End the reply to an order: with the facts collected in the block, or with the error that it raised."""
    facts: dict[str, Any] = {}
    try:
        yield facts
    except WorkbenchError as error:
        send(pack({"error": {"kind": type(error).__name__, "message": str(error)}}, last=True))
    else:
        send(pack(facts, last=True))


def _frames(engine: Engine, order: dict[str, Any]) -> Iterator[bytes]:
    do = order["do"]
    if made := order.get("interventions"):
        engine = cast(OpenEngine, engine).intervened([Intervention.from_json(each) for each in made])
    if do == "complete":
        yield from (pack(choice) for choice in complete(engine, order["settings"]))
        return
    for positions, answers in _batches(engine, do, order["requests"], order["settings"], order):
        yield pack_answers(do, positions, answers)


def _batches(engine: Engine, do: str, requests: Any, settings: Any, how: Any) -> Iterator[Any]:
    if do == "generate":
        asked = [ToGenerate(*request) for request in requests]
        if how.get("watched"):
            return cast(WatchedEngine, engine).generate_watched(
                asked, Decoding(**settings), how["batch_size"], how["watch"]
            )
        return engine.generate(asked, Decoding(**settings), how["batch_size"])
    if do == "alternatives":
        answers = [ToScore(*request) for request in requests]
        return cast(WatchedEngine, engine).read_alternatives(answers, settings["top"])
    if do == "score":
        return engine.score(
            [ToScore(*r) for r in requests], ScoringRule(**settings), ComputeOptions(**how["options"])
        )
    if do == "token_states":
        texts = [
            (AnsweredPositions if answer else TextPositions)(text, positions and tuple(positions), *answer)
            for text, positions, *answer in requests
        ]
        return cast(OpenEngine, engine).read_token_states(
            texts, settings["stack"], settings["part"], how["batch_size"]
        )
    if do == "activity":
        groups = [ToCount(tuple(texts), prompts and tuple(prompts)) for texts, prompts in requests]
        return cast(OpenEngine, engine).read_activity(groups, how["batch_size"])
    if do == "lens":
        places = [ToLens(prompt, answer, tuple(words)) for prompt, answer, words in requests]
        affine = AffineLens.from_json(given) if (given := settings["affine"]) else None
        return cast(OpenEngine, engine).read_lens(places, settings["top"], how["batch_size"], affine)
    return engine.read_states(requests, StateOptions(**settings), how["batch_size"], how["batch_tokens"])


def main() -> None:
    """Answer orders on the standard streams; output that libraries print goes to the log."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    Child(sys.stdin.buffer, replies).run()


if __name__ == "__main__":
    main()
