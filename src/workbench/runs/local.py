"""An executor of `concurrent.futures` on this machine: one process per task, forked from a warm parent where possible.

A warm parent (`workbench.runs.nursery`) serves one notebook and set of models. On machines with GPUs each running task
holds a lease on its own.
"""

import os
import pickle
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from threading import Lock
from typing import IO, Any

from workbench.errors import KernelDied
from workbench.runs.forking import CAN_FORK
from workbench.runs.leases import leased, visible_gpus
from workbench.runs.supervise import ENVIRONMENT

Key = tuple[str, ...]


class LocalProcesses(Executor):
    """Runs tasks in parallel, each in its own process; if one dies, the others are not affected.

    Submit the tasks that share a notebook and a set of models consecutively: tasks of another set replace the warm parent. A
    task whose process died without a result raises KernelDied.

    Args:
        workers: The number of tasks that run at a time.
        gpus_each: The number of GPUs reserved for each task, on machines that have any.
        environment: Variables added to the tasks' environment.
    """

    def __init__(
        self,
        workers: int,
        *,
        gpus_each: int = 1,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="run")
        self._gpus, self._gpus_each = visible_gpus(), gpus_each
        self._lock = Lock()
        self._current: _Nursery | None = None
        self._nurseries: list[_Nursery] = []
        self._interrupted = False
        threads = str(max(1, (os.cpu_count() or 1) // workers))
        self._environment = {"OMP_NUM_THREADS": threads, **os.environ, **(environment or {}), **ENVIRONMENT}

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Schedule `fn(*args, **kwargs)` in its own process; function and arguments must be picklable."""
        plan = getattr(fn, "plan", None)
        key = (str(plan.notebook), *plan.models) if plan is not None and CAN_FORK else ()
        return self._threads.submit(self._do, key, partial(fn, *args, **kwargs) if args or kwargs else fn)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no more tasks; with `cancel_futures`, drop waiting tasks and interrupt running ones."""
        if cancel_futures:
            self._threads.shutdown(wait=False, cancel_futures=True)
            with self._lock:
                self._interrupted = True
                for nursery in self._nurseries:
                    nursery.close()
        self._threads.shutdown(wait=wait, cancel_futures=cancel_futures)
        with self._lock:
            for nursery in self._nurseries:
                nursery.close()
                nursery.process.wait()

    def __exit__(self, kind: Any, *_: Any) -> None:
        """Wait for the tasks, or drop and interrupt them if the `with` block raised an exception."""
        self.shutdown(cancel_futures=kind is not None)

    def _do(self, key: Key, task: Callable[[], Any]) -> Any:
        with leased(self._gpus, self._gpus_each) as environment, self._parent(key) as nursery:
            answer = nursery.ask(environment, task)
        if not answer:
            raise KernelDied(
                "the run's own process was ended before it could say how it went; start it again"
            )
        return pickle.loads(answer)

    @contextmanager
    def _parent(self, key: Key) -> Iterator["_Nursery"]:
        """Yield the warm parent for a key; the previous one is closed when its last task is done."""
        with self._lock:
            if self._interrupted:  # interrupted while it waited for a GPU
                raise KernelDied("interrupted before it began; start it again")
            if self._current is None or self._current.key != key or self._current.process.poll() is not None:
                self._current = _Nursery(key, self._environment)
                self._nurseries.append(self._current)
            nursery = self._current
            nursery.users += 1
        try:
            yield nursery
        finally:
            with self._lock:
                nursery.users -= 1
                if nursery.users == 0 and nursery is not self._current:
                    nursery.close()


class _Nursery:
    """The process of a warm parent and the socket to it; if warming up fails, a parent that starts every run afresh."""

    def __init__(self, key: Key, environment: dict[str, str]) -> None:
        self.key, self.users = key, 0
        self._sending = Lock()
        self.process, self._door = _start(key, environment)
        if self._door.recv(5) != b"ready" and key:
            self.close()
            self.process, self._door = _start((), environment)
            self._door.recv(5)

    def ask(self, environment: dict[str, str], task: Callable[[], Any]) -> bytes:
        """Have a task done and return its pickled result, or nothing if its process died."""
        message = pickle.dumps((environment, task))
        mine, theirs = os.pipe()
        try:
            with self._sending:
                socket.send_fds(self._door, [len(message).to_bytes(8, "big")], [theirs])
                self._door.sendall(message)
        except OSError:  # the parent is gone
            os.close(mine)
            return b""
        finally:
            os.close(theirs)
        with os.fdopen(mine, "rb") as pipe:
            return pipe.read()

    def close(self) -> None:
        """Close the socket, whereupon the parent interrupts its running tasks and exits."""
        self._door.close()


def _start(key: Key, environment: dict[str, str]) -> tuple["subprocess.Popen[bytes]", socket.socket]:
    ours, theirs = socket.socketpair()
    log: IO[bytes]
    with theirs, tempfile.TemporaryFile() as log:
        command = [sys.executable, "-m", "workbench.runs.nursery", *key]
        process = subprocess.Popen(
            command, stdin=theirs.fileno(), stdout=log, stderr=log, env=environment, start_new_session=True
        )
    return process, ours
