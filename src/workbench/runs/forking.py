"""Processes forked from this one, so that what is imported and loaded here need not be imported and loaded again.

Safe where the parent has imported and loaded but has run no operator and holds no threads: `workbench.runs.nursery`
is such a parent. Linux only: the libraries of macOS do not survive a fork.
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
    """A process forked to do `work`, with as much of the face of `subprocess.Popen` as its callers need.

    Args:
        work: What it does; its process ends with it, and nothing of the parent's (finally blocks, exit handlers) runs.
        streams: File descriptors that become its standard input, output and error; all others are closed.
        keep: Descriptors left open.
    """

    stdin: IO[bytes] | None = None
    stdout = stderr = None

    def __init__(
        self, work: Callable[[], None], streams: tuple[int, int, int], *, keep: tuple[int, ...] = ()
    ) -> None:
        self.returncode: int | None = None
        # Until the child has its handlers, signals wait: one that came during the fork would be lost.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
        try:
            self.pid = os.fork()
            if self.pid == 0:
                _become(work, streams, keep, mask)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

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
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
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
    finally:  # nothing may be carried up the parent's stack
        code = _told(sys.exception())
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _told(error: BaseException | None) -> int:
    """The exit code Python gives for what ended a process; the traceback goes to standard error."""
    if error is None:
        return 0
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    traceback.print_exception(error)
    return 130 if isinstance(error, KeyboardInterrupt) else 1
