"""The processes of models, forked from a template that has imported torch and the engine once, or started afresh.

The template (`workbench.service.fork_parent`) gets the two ends of a model's pipes over a socket, and reports the
processes that it started and how they ended. Where it is not safe to fork after these imports (macOS; a driver of a GPU may
have been opened), each process is started afresh.
"""

import asyncio
import json
import os
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress

_DRIVERS = ("/dev/nvidiactl", "/dev/kfd")
CAN_FORK = sys.platform == "linux" and not any(map(os.path.exists, _DRIVERS))
_KILLED = -9
# Threads of a model that wait for each other by spinning take the cores from those that are waited for, as soon as anything else
# computes on the machine: small requests then take several times as long.
_SLEEP_WHILE_WAITING = {"OMP_WAIT_POLICY": "passive"}


class ModelProcess:
    """A process with its input and output; `pid` and `wait` are those of its parent."""

    def __init__(
        self,
        pid: int,
        writer: asyncio.StreamWriter,
        reader: asyncio.StreamReader,
        ended: "asyncio.Future[int]",
    ) -> None:
        self.pid, self.stdin, self.stdout, self._ended = pid, writer, reader, ended

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return not self._ended.done()

    async def wait(self) -> int:
        """Return its exit status, negative for a signal, once it has ended."""
        code = await asyncio.shield(self._ended)
        self.stdin.close()
        return code

    async def kill(self) -> None:
        """End it at once."""
        if self.is_running:
            with suppress(ProcessLookupError):
                os.kill(self.pid, 9)
        await self.wait()


class Processes:
    """Starts processes of models; `environment` is added to that of this process."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = {**_SLEEP_WHILE_WAITING, **os.environ, **environment, "WORKBENCH_SERVICE": "off"}
        self._template: _Template | None = None

    async def prepare(self) -> None:
        """Have the template import what every model needs, before one is requested."""
        if CAN_FORK and (self._template is None or not self._template.is_running):
            self._template = await _Template.start(self._environment)

    async def spawn(self) -> ModelProcess:
        """Start the process of a model."""
        await self.prepare()
        theirs_in, ours_in = os.pipe()
        ours_out, theirs_out = os.pipe()
        writer, reader = await _writer(ours_in), await _reader(ours_out)
        try:
            pid, ended = await self._started(theirs_in, theirs_out)
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        return ModelProcess(pid, writer, reader, ended)

    async def _started(self, stdin: int, stdout: int) -> "tuple[int, asyncio.Future[int]]":
        if self._template is not None:
            with suppress(ConnectionError):  # the template died; a fresh process says why if it does as well
                return await self._template.fork(stdin, stdout)
        return await self._afresh(stdin, stdout)

    async def _afresh(self, stdin: int, stdout: int) -> "tuple[int, asyncio.Future[int]]":
        command = (sys.executable, "-m", "workbench.service.child")
        process = await asyncio.create_subprocess_exec(
            *command, stdin=stdin, stdout=stdout, env=self._environment
        )
        return process.pid, asyncio.ensure_future(process.wait())

    async def end(self) -> None:
        """End the template."""
        if self._template is not None:
            await self._template.end()


class _Template:
    """The process that forks those of models."""

    def __init__(self, process: asyncio.subprocess.Process, ours: socket.socket) -> None:
        self._process, self._ours = process, ours
        self._ended: dict[int, asyncio.Future[int]] = {}
        self._started: asyncio.Queue[int] = asyncio.Queue()
        self._reports = asyncio.create_task(self._listen())

    @classmethod
    async def start(cls, environment: Mapping[str, str]) -> "_Template":
        ours, theirs = socket.socketpair()
        command = (sys.executable, "-m", "workbench.service.fork_parent")
        process = await asyncio.create_subprocess_exec(*command, stdin=theirs.fileno(), env=environment)
        theirs.close()
        ours.setblocking(False)
        return cls(process, ours)

    @property
    def is_running(self) -> bool:
        return not self._reports.done()

    async def fork(self, stdin: int, stdout: int) -> "tuple[int, asyncio.Future[int]]":
        """Have a process forked with these ends of pipes; one caller at a time.

        Raises:
            ConnectionError: the template has ended.
        """
        socket.send_fds(self._ours, [b"."], [stdin, stdout])
        pid = await self._started.get()
        if not pid:
            raise ConnectionError("the template of the models' processes ended")
        return pid, self._ended[pid]

    async def _listen(self) -> None:
        """Note what the template reports, a line of JSON each; if it ends, so do its processes."""
        reader, writer = await asyncio.open_connection(sock=self._ours)
        while line := await reader.readline():
            pid, code = json.loads(line)
            if code is None:
                self._ended[pid] = asyncio.get_running_loop().create_future()
                self._started.put_nowait(pid)
            else:
                self._ended.pop(pid).set_result(code)
        for pid, ended in self._ended.items():
            with suppress(ProcessLookupError):
                os.kill(pid, 9)
            ended.set_result(_KILLED)
        self._started.put_nowait(0)
        writer.close()

    async def end(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        await self._reports


async def _writer(descriptor: int) -> asyncio.StreamWriter:
    loop = asyncio.get_running_loop()
    file = os.fdopen(descriptor, "wb", 0)
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, file)
    return asyncio.StreamWriter(transport, protocol, None, loop)


async def _reader(descriptor: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    file = os.fdopen(descriptor, "rb", 0)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), file)
    return reader
