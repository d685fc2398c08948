"""A service for one block of code, such as the runs of a sweep on one GPU."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from workbench.errors import ServiceFailed

_SECONDS_TO_END = 10.0


@contextmanager
def private_service(
    *,
    environment: Mapping[str, str] | None = None,
    threads: int | None = None,
    memory: int | None = None,
    idle: float = 3600.0,
    ahead: bool = False,
    log: IO[str] | int | None = subprocess.DEVNULL,
) -> Iterator[str]:
    """Run a model service for this process alone and yield its address, which clients find in WORKBENCH_SERVICE.

    It listens on a socket in a new folder that only this user can enter, and ends with the block or when this process dies, even
    by a kill; its models end with it. Each model is loaded once, when it is requested first.

    Args:
        environment: variables to add to this process's own, such as CUDA_VISIBLE_DEVICES.
        threads: of each model; by default all cores that this process may use.
        memory: maximum bytes of all its models together; by default the free memory.
        idle: seconds after which an unused model is ended.
        ahead: import torch at once, while this process still prepares its work, rather than when a model is requested.
        log: the destination of its log lines and those of its models: an open file, or a constant of `subprocess`.

    Raises:
        ServiceFailed: it did not start.
    """
    folder = Path(tempfile.mkdtemp(prefix="workbench-"))  # mode 0700
    settings = {
        "socket": str(folder / "service.sock"), "threads": threads, "memory": memory, "idle": idle, "until_input_ends": True, "ahead": ahead,
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "workbench.service.server", json.dumps(settings)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env={**os.environ, **(environment or {})},
        start_new_session=True,  # an interrupt in a terminal reaches only the owner, which ends it
    )  # fmt: skip
    try:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise ServiceFailed(
                f"the model service did not start (status {process.wait()}); its log says why"
            )
        yield str(folder / "service.sock")
    finally:
        _end(process)
        shutil.rmtree(folder, ignore_errors=True)


def _end(process: "subprocess.Popen[str]") -> None:
    """Close the input of the service, which ends it and its models; kill it if it does not end."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(_SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.kill()  # its models end when their input does
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
