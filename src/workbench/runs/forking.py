"""A forked process with the interface of `subprocess.Popen` that a run and the client of its kernel use."""

import os
import signal
import subprocess
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from threading import Lock
from time import monotonic
from typing import IO

_LOCK = Lock()  # of starting and reaping, which multiprocessing leaves to one thread


class Forked:
    """A process of `multiprocessing`, which it starts; threads may share it."""

    stdin: IO[bytes] | None = None
    stdout = stderr = None

    def __init__(self, process: BaseProcess) -> None:
        with _LOCK:
            process.start()
        self._process = process
        self.pid = process.pid or 0
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""
        with _LOCK:
            if self.returncode is None:
                self.returncode = self._process.exitcode
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the process to end.

        Raises:
            subprocess.TimeoutExpired: it still runs after `timeout` seconds.
        """
        until = None if timeout is None else monotonic() + timeout
        while (code := self.poll()) is None:
            left = None if until is None else until - monotonic()
            if left is not None and left <= 0:
                raise subprocess.TimeoutExpired("a forked process", timeout or 0.0)
            wait([self._process.sentinel], left)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)
