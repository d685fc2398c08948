"""The listening process: takes orders over HTTP and passes them to the processes of the models.

The socket needs no password, since only the user can enter its folder; on a TCP port of this machine every request needs the
token. Only one service listens on a socket; a socket that a killed service left behind is replaced.
"""

import asyncio
import fcntl
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_unix_socket
from tornado.web import Application

from workbench.engines.client import Wanted
from workbench.engines.client.address import TOKEN, make_private
from workbench.engines.client.frames import pack
from workbench.errors import BadInput
from workbench.service.openai import Completions, ModelList
from workbench.service.residents import Residents
from workbench.service.routes import Route

_LOG = logging.getLogger(__name__)
_LARGEST_ORDER = 2**28  # bytes; a client asks for at most 2,000 answers at a time
_LONGEST_SOCKET = 100  # characters of a socket's path; systems allow 104 to 108


@dataclass(frozen=True)
class Settings:
    """How a service runs.

    `port`: a TCP port of this machine to listen on as well. `memory`: bytes for all models. `idle`: seconds after which an
    unused model is ended. `threads`: of each model. `until_input_ends`: the service ends when its standard input does.
    `ahead`: import what models need before one is requested.
    """

    socket: str
    port: int | None = None
    memory: int | None = None
    idle: float = 3600.0
    threads: int | None = None
    until_input_ends: bool = False
    ahead: bool = False


def serve(settings: Settings, ready: Callable[[], None]) -> None:
    """Run the service until it is stopped; `ready` is called when it listens.

    Raises:
        BadInput: another service listens there, the folder of the socket is open to others, or a port without a token.
    """
    socket = Path(settings.socket)
    if len(str(socket)) > _LONGEST_SOCKET:
        raise BadInput(
            f"the socket's path {socket} is longer than {_LONGEST_SOCKET} characters; name a shorter one"
        )
    make_private(socket.parent)
    with (socket.parent / f"{socket.name}.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadInput(
                f"a model service already runs at {socket}; `workbench serve --list` shows it, `workbench serve --stop` ends it"
            ) from None
        asyncio.run(_serve(settings, socket, ready))


async def _serve(settings: Settings, socket: Path, ready: Callable[[], None]) -> None:
    threads = {"OMP_NUM_THREADS": str(settings.threads)} if settings.threads else {}
    residents, stop = Residents(memory=settings.memory, environment=threads), asyncio.Event()
    if settings.ahead:
        await residents.processes.prepare()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if settings.until_input_ends:
        loop.add_reader(sys.stdin.fileno(), partial(_stop_at_end, stop))
    servers = [_server(residents, stop, None)]
    servers[0].add_socket(bind_unix_socket(str(socket), mode=0o600))
    if settings.port is not None:
        servers.append(_server(residents, stop, _token()))
        servers[1].listen(settings.port, "127.0.0.1")
    cleaner = asyncio.create_task(_end_idle(residents, settings.idle))
    ready()
    _LOG.info("listening at %s%s", socket, f" and port {settings.port}" if settings.port else "")
    await stop.wait()
    _LOG.info("stopping")
    cleaner.cancel()
    for server in servers:
        server.stop()
    await residents.end_all()
    socket.unlink(missing_ok=True)


def _stop_at_end(stop: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        stop.set()


def _server(residents: Residents, stop: asyncio.Event, token: str | None) -> HTTPServer:
    about = {"residents": residents, "stop": stop, "token": token}
    routes: list[Any] = [
        ("/", About, about), ("/answer", Answer, about), ("/stop", Stop, about),
        ("/v1/models", ModelList, about), ("/v1/completions", Completions, about),
    ]  # fmt: skip
    return HTTPServer(Application(routes, log_function=lambda _: None), max_body_size=_LARGEST_ORDER)


def _token() -> str:
    token = os.environ.get(TOKEN, "")
    if len(token) < 16:
        raise BadInput(
            f"a port needs a token of at least 16 characters in {TOKEN}, which clients send; set one"
        )
    return token


async def _end_idle(residents: Residents, seconds: float) -> None:
    while True:
        await asyncio.sleep(min(30.0, seconds / 4))
        await residents.end_idle(seconds)


class About(Route):
    """`GET /`: the service, and the models in it."""

    def get(self) -> None:
        """Reply with JSON."""
        self.finish({"process": os.getpid(), "models": self.residents.describe()})


class Stop(Route):
    """`POST /stop`: ends the service."""

    def post(self) -> None:
        """Reply, then stop."""
        self.finish({})
        self.stop.set()


class Answer(Route):
    """`POST /answer`: an order in JSON, replied to by frames (`workbench.engines.client.frames`)."""

    async def post(self) -> None:
        """Pass the order to its model."""
        self.set_header("Content-Type", "application/octet-stream")
        order = json.loads(self.request.body)
        try:
            wanted = Wanted.read(order.pop("wanted", None))
        except BadInput as error:
            await self.send(pack({"error": {"kind": "ServiceFailed", "message": str(error)}}, last=True))
            return
        await self.residents.find(wanted).answer(order, self.send, self.gone)


def main() -> None:
    """Run a service with the settings in the first argument, and print a line when it listens."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    with suppress(KeyboardInterrupt):
        serve(Settings(**json.loads(sys.argv[1])), lambda: print("listening", flush=True))


if __name__ == "__main__":
    main()
