"""Processes forked from this one, so that its imports and loaded weights need not be loaded again.

Forking is safe if the parent has imported and loaded, but has run no operator and has no threads: `workbench.runs.nursery`
is such a parent. Linux only: system libraries on macOS do not survive a fork.
"""

import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterable
from itertools import pairwise
from time import monotonic, sleep
from typing import IO

CAN_FORK = sys.platform == "linux"


class Forked:
    """A process forked to run `work`, with the part of the interface of `subprocess.Popen` that its callers need.

    Args:
        work: What it runs. The process exits when `work` returns; no finally block or exit handler of the parent runs.
        streams: File descriptors that become its standard input, output and error; all others are closed.
        keep: Descriptors left open.
    """

    stdin: IO[bytes] | None = None
    stdout = stderr = None

    def __init__(
        self, work: Callable[[], None], streams: tuple[int, int, int], *, keep: tuple[int, ...] = ()
    ) -> None:
        self.returncode: int | None = None
        # Block signals until the child has installed its handlers: one that arrived during the fork would be lost.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
        try:
            self.pid = os.fork()
            if self.pid == 0:
                _become(work, streams, keep, mask)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the process to end.

        Raises:
            subprocess.TimeoutExpired: it still runs after `timeout` seconds.
        """
        until = None if timeout is None else monotonic() + timeout
        pause = 0.001
        while (code := self.poll()) is None:
            if until is not None and monotonic() > until:
                raise subprocess.TimeoutExpired("a forked process", timeout or 0.0)
            sleep(pause)
            pause = min(2 * pause, 0.05)
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


def _become(
    work: Callable[[], None], streams: tuple[int, int, int], keep: tuple[int, ...], mask: Iterable[int]
) -> None:
    try:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sources = [os.dup(stream) for stream in streams]
        for place, source in enumerate(sources):
            os.dup2(source, place)
        edges = [2, *sorted(keep), os.sysconf("SC_OPEN_MAX")]
        for low, high in pairwise(edges):
            os.closerange(low + 1, high)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        work()
    finally:  # never unwind into the parent's stack
        code = _told(sys.exception())
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _told(error: BaseException | None) -> int:
    """Return the exit code that Python would give for an exception, and print its traceback to standard error."""
    if error is None:
        return 0
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    traceback.print_exception(error)
    return 130 if isinstance(error, KeyboardInterrupt) else 1
