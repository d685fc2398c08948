"""`make lab`: the kernel of the notebook that opens first starts with the server, and imports what the playground needs."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import pytest

from workbench.runs.lab import IMPORTS, notebook_of

NOTEBOOK = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("/lab/tree/notebooks/00_playground.ipynb", "notebooks/00_playground.ipynb"),
        ("/lab/tree/README.md", ""),
        ("/lab", ""),
        ("", ""),
    ],
)
def test_the_notebook_is_read_from_the_address_that_opens(url, path):
    assert notebook_of(url) == path


@contextmanager
def serving(place, opens):
    """A Jupyter server with the extension; yields a function that returns the JSON at a path of its interface."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {f"JUPYTER_{name}_DIR": str(place / name.lower()) for name in ("CONFIG", "RUNTIME", "DATA")}
    options = [f"--port={port}", f"--ServerApp.root_dir={place}", f"--LabApp.default_url=/lab/tree/{opens}", "--IdentityProvider.token="]  # fmt: skip
    command = [sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root", "--ServerApp.jpserver_extensions=workbench.runs.lab=True", *options]  # fmt: skip
    with (place / "log").open("w") as log:
        process = subprocess.Popen(command, env={**os.environ, **own}, stdout=log, stderr=log)

    def ask(path):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/{path}", timeout=5) as reply:
            return json.load(reply)

    try:
        yield ask
    finally:
        process.terminate()
        process.wait(20)


def until(true, seconds=60):
    """What a function returns once it is true; errors of a server that is not there yet are waited out."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if found := true():
                return found
        except OSError:
            pass
        time.sleep(0.1)
    raise TimeoutError


@pytest.mark.parametrize("opens", ["book.ipynb", "README.md"])
def test_its_kernel_is_there_before_a_browser_is_and_only_of_a_notebook(tmp_path, opens):
    (tmp_path / "book.ipynb").write_text(json.dumps(NOTEBOOK))
    with serving(tmp_path, opens) as ask:
        until(lambda: ask("status"))
        if opens.endswith(".md"):
            assert ask("sessions") == []
            return
        (session,) = until(lambda: ask("sessions"))
        assert session["path"] == "book.ipynb"
        until(lambda: ask("kernels")[0]["execution_state"] == "busy")


def test_what_it_imports_exists():
    subprocess.run([sys.executable, "-c", f"from importlib.util import find_spec; assert all(map(find_spec, {IMPORTS.removeprefix('import ').split(', ')!r}))"], check=True)  # fmt: skip
