"""The models of a service: each in a child process, started on the first request, and ended when it is idle or memory is short."""

import asyncio
import logging
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from workbench.engines.client import Wanted
from workbench.engines.client.frames import HEAD, pack, size_after, unpack
from workbench.service.processes import ModelProcess, Processes

_LOG = logging.getLogger(__name__)
Send = Callable[[bytes], Awaitable[None]]


class Resident:
    """A model in a child process, which answers orders one at a time, first come, first served."""

    def __init__(self, wanted: Wanted, residents: "Residents") -> None:
        self.wanted, self._residents = wanted, residents
        self._turn = asyncio.Lock()
        self._process: ModelProcess | None = None
        self._facts = b""
        self.needs, self.waiting, self.answered, self.used = 0, 0, 0, time.monotonic()

    @property
    def is_loaded(self) -> bool:
        """Whether the model is in memory."""
        return self._process is not None and self._process.is_running and bool(self._facts)

    async def answer(self, order: dict[str, Any], send: Send, gone: asyncio.Event) -> None:
        """Send the frames of the reply to an order; nothing if the client disconnected before its turn."""
        self.waiting += 1
        try:
            async with self._turn:
                if not gone.is_set():
                    await self._answer(order, send, gone)
        finally:
            self.waiting -= 1
            self.used = time.monotonic()

    async def _answer(self, order: dict[str, Any], send: Send, gone: asyncio.Event) -> None:
        try:
            if not self.is_loaded and not await self._start(send):
                return
            if order["do"] == "open":
                await send(self._facts)
                return
            self.answered += 1
            await self._relay({**order, "number": self.answered}, send, gone)
        except (asyncio.IncompleteReadError, ConnectionError):
            await send(await self._failure())

    async def _start(self, send: Send) -> bool:
        """Start the process and load the model; a failure is sent as the reply."""
        async with self._residents.loading:
            _LOG.info("loading %s", self.label)
            began = time.monotonic()
            self._facts, self._process = b"", await self._residents.processes.spawn()
            self._write({"wanted": vars(self.wanted)})
            while True:
                frame = await self._read()
                last, about, _ = unpack(frame[: HEAD.size], frame[HEAD.size :])
                if last:
                    break
                if "needs" in about:
                    self.needs = about["needs"]
                    self._write(await self._residents.make_room(self, about["free"]))
                else:
                    await send(frame)
        if "error" in about:
            _LOG.info("refused %s: %s", self.label, about["error"]["message"])
            await self.end_now()
            await send(frame)
            return False
        _LOG.info("loaded %s in %.1f s, process %d", self.label, time.monotonic() - began, self._process.pid)
        self._facts = frame
        return True

    async def _relay(self, order: dict[str, Any], send: Send, gone: asyncio.Event) -> None:
        """Forward the frames of a reply; if the client disconnects, stop the child after its current batch."""
        self._write(order)
        watch = asyncio.create_task(self._stop_when(gone, order["number"]))
        try:
            last = False
            while not last:
                frame = await self._read()
                (last, *_) = HEAD.unpack(frame[: HEAD.size])
                if not gone.is_set():
                    await send(frame)
        finally:
            watch.cancel()

    async def _stop_when(self, gone: asyncio.Event, number: int) -> None:
        await gone.wait()
        _LOG.info("a client of %s disconnected", self.label)
        self._write({"stop": number})

    async def stop(self) -> None:
        """End the process once it has answered the waiting orders."""
        async with self._turn:
            await self.end_now()

    async def end_now(self) -> None:
        """End the process at once, even during a computation."""
        if self._process is not None:
            await self._process.kill()
        self._process, self._facts = None, b""

    async def _failure(self) -> bytes:
        """Return the error for the client during whose order the process ended."""
        assert self._process is not None
        code = await self._process.wait()
        cause = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        text = (
            f"the process of {self.label} in the model service {cause}; finished answers are stored, and the next "
            "request starts it again"
        )
        if code == -signal.SIGKILL:
            text += "; perhaps memory ran out: use a smaller batch, or bfloat16"
        _LOG.warning(text)
        await self.end_now()
        return pack({"error": {"kind": "ServiceFailed", "message": text}}, last=True)

    def _write(self, order: Mapping[str, Any]) -> None:
        assert self._process is not None
        self._process.stdin.write(pack(dict(order)))

    async def _read(self) -> bytes:
        assert self._process is not None
        head = await self._process.stdout.readexactly(HEAD.size)
        return head + await self._process.stdout.readexactly(size_after(head))

    @property
    def label(self) -> str:
        """The name of the model in messages, with dtype and device."""
        seed = "" if self.wanted.random_seed is None else f", random seed {self.wanted.random_seed}"
        quantization = f", {self.wanted.quantization}" if self.wanted.quantization else ""
        return f"{self.wanted.name} ({self.wanted.dtype}{quantization}, {self.wanted.device}{seed})"

    def describe(self) -> dict[str, Any]:
        """Return the row of `workbench serve --list`."""
        state = ("busy" if self.waiting else "idle") if self.is_loaded else "loading"
        return {
            "model": self.label,
            "state": state,
            "waiting": max(0, self.waiting - 1),
            "answered": self.answered,
            "idle s": 0 if self.waiting else round(time.monotonic() - self.used),
            "GB": round(self.needs / 1e9, 2),
            "process": self._process.pid if self._process else None,
        }


class Residents:
    """The loaded models, by key.

    `memory` limits the sum of their forecasts, in bytes; `environment` is added to that of their processes.
    """

    def __init__(self, *, memory: int | None, environment: Mapping[str, str]) -> None:
        self._memory, self.processes = memory, Processes(environment)
        self._by_key: dict[str, Resident] = {}
        self.loading = asyncio.Lock()  # one model is loaded at a time, so that the forecast holds

    def find(self, wanted: Wanted) -> Resident:
        """Return the model with that key; its first order loads it."""
        return self._by_key.setdefault(wanted.key, Resident(wanted, self))

    def describe(self) -> list[dict[str, Any]]:
        """Return a row for each model that is loaded or being loaded."""
        return [each.describe() for each in self._by_key.values() if each.is_loaded or each.waiting]

    def names(self) -> list[str]:
        """Return the models that are loaded, as they are named in the OpenAI protocol."""
        loaded = [
            each.wanted
            for each in self._by_key.values()
            if each.is_loaded and each.wanted.random_seed is None
        ]
        return [
            one.name
            + (f"@{one.revision}" if one.revision else "")
            + ("" if one.dtype == "float32" else f":{one.dtype}")
            + (f":{one.quantization}" if one.quantization else "")
            for one in loaded
        ]

    async def make_room(self, newcomer: Resident, free: int) -> dict[str, Any]:
        """Return the reply to a process that needs memory: load, or refused, or ask again, once another model has ended.

        The least recently used model is ended to make room.
        """
        others = [each for each in self._by_key.values() if each.is_loaded and each is not newcomer]
        allowed = free if self._memory is None else min(free, self._memory - sum(o.needs for o in others))
        if newcomer.needs <= allowed:
            return {"load": True}
        if not others:
            limit = "" if self._memory is None else f" and a limit of {self._memory / 1e9:.1f} GB"
            return {
                "refused": f"the model service has no room for {newcomer.label}: it needs about {newcomer.needs / 1e9:.1f} GB, with "
                f"{free / 1e9:.1f} GB free{limit}; load it in bfloat16, or start the service with a higher --memory"
            }
        oldest = min(others, key=lambda each: (each.waiting > 0, each.used))
        _LOG.info("ending %s to make room for %s", oldest.label, newcomer.label)
        await oldest.stop()
        return {"load": False}

    async def end_idle(self, seconds: float) -> None:
        """End the models that have been unused for that long."""
        for each in list(self._by_key.values()):
            if each.is_loaded and not each.waiting and time.monotonic() - each.used > seconds:
                _LOG.info("ending %s, unused for %.0f s", each.label, seconds)
                await each.stop()

    async def end_all(self) -> None:
        """End every process at once, even during a computation."""
        await asyncio.gather(*(each.end_now() for each in self._by_key.values()))
        await self.processes.end()
