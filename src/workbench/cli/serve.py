"""`workbench serve`: the model service, in the foreground; and what it does, and its end."""

import logging
import os
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

import workbench
from workbench.cli.options import Json, positive
from workbench.cli.printing import notice, show, show_json, show_line

_SECONDS_TO_END = 10.0


def serve(
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Listen on this port of 127.0.0.1 too; needs a token."),
    ] = None,
    memory: Annotated[
        float | None, typer.Option(parser=positive, metavar="GB", help="For all models together.")
    ] = None,
    idle: Annotated[
        float,
        typer.Option(parser=positive, metavar="MINUTES", help="After which an unused model is unloaded."),
    ] = 60.0,
    threads: Annotated[int | None, typer.Option(min=1, help="Of each model; all cores by default.")] = None,
    log: Annotated[Path | None, typer.Option(help="A file for the log, instead of stderr.")] = None,
    list_models: Annotated[bool, typer.Option("--list", help="Show the models that are loaded.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="End the service and its models.")] = False,
    as_json: Json = False,
) -> None:
    """Keep models loaded for all notebooks of this user; `load` finds them here."""
    if list_models or stop:
        _ask(as_json) if list_models else _end()
        return
    places = import_module("workbench.engines.client.address")
    socket = places.socket_to_serve()
    room = import_module("workbench.service.server")  # late: it imports tornado
    settings = room.Settings(
        str(socket), port, None if memory is None else int(memory * 1e9), idle * 60, threads
    )

    if log is not None:
        log.open("a").close()  # a file that cannot be written is refused before anything listens

    def ready() -> None:
        show_line(f"The model service listens at {socket}; Ctrl-C or `workbench serve --stop` ends it.")
        _begin_log(log)

    room.serve(settings, ready)


def _begin_log(log: Path | None) -> None:
    """Write the log to a file or to stderr, with what the models' processes print."""
    if log is not None:
        with log.open("a", encoding="utf-8") as file:
            os.dup2(file.fileno(), sys.stderr.fileno())
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)


def _ask(as_json: bool) -> None:
    address, client = _service()
    about = client.about(address)
    if as_json:
        show_json({"address": address, **about})
        return
    show(about["models"])
    notice(f"{len(about['models'])} models in the service at {address}, process {about['process']}")


def _end() -> None:
    address, client = _service()
    client.stop(address)
    until = time.monotonic() + _SECONDS_TO_END
    while client.answers(address) and time.monotonic() < until:
        time.sleep(0.05)
    show_line(f"The model service at {address} has ended.")


def _service() -> tuple[str, Any]:
    address = import_module("workbench.engines.client.address").address()
    client = import_module("workbench.engines.client.engine")  # late: it imports httpx
    if address is None or not client.answers(address):
        raise workbench.errors.ServiceFailed("no model service runs; `workbench serve` starts one")
    return address, client
