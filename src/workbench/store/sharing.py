"""One connection to a store's file for all handles and threads of a process, closed when the last handle is gone.

Threads take turns, one transaction at a time. A connection is never used across a fork: the child opens its own and leaves
its parent's untouched, since closing that would release the parent's locks.
"""

import os
import sqlite3
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock

from workbench.errors import StoreFailed
from workbench.store.advice import message_of, remedy
from workbench.store.file import connect, connect_read_only, is_read_only, state_of

_READ_ONLY = (
    "the store {path} is read-only here; set WORKBENCH_STORE to a file of your own (a copy keeps its answers)"
)
_LEFT: list[sqlite3.Connection] = []  # connections of a parent process


class SharedFile:
    """This process's open connection to a store's file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pid = os.getpid()
        self._lock = RLock()
        self._open: list[sqlite3.Connection] = []  # at most one
        self._state: tuple[object, ...] = ()
        self._lockless = False
        weakref.finalize(self, _close, self._open, self.pid)

    @property
    def is_read_only(self) -> bool:
        """Whether the file exists and cannot be written."""
        return is_read_only(self.path)

    @contextmanager
    def transaction(self, *, write: bool) -> Iterator[sqlite3.Connection]:
        """Open a transaction of this thread: committed if the block succeeds, otherwise rolled back.

        Raises:
            StoreFailed: any error from SQLite, with advice.
        """
        if write and self.is_read_only:
            raise StoreFailed(_READ_ONLY.format(path=self.path))
        with self._lock, self._reporting():
            connection = self._connected()
            connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                self._expect_unchanged()

    def checkpoint(self) -> None:
        """Move committed answers from the log into the file without waiting for readers or writers."""
        if self._open:
            self._maintain("PRAGMA wal_checkpoint(PASSIVE)")

    def vacuum(self) -> None:
        """Return the space of deleted rows to the file system."""
        self._maintain("VACUUM")

    def close(self) -> None:
        """Close the connection; the next transaction opens another."""
        with self._lock:
            _close(self._open, self.pid)

    def _connected(self) -> sqlite3.Connection:
        if not self._open or self._state != state_of(self.path, lockless=self._lockless):
            _close(self._open, self.pid)
            if self.is_read_only:
                connection, self._lockless = connect_read_only(self.path)
            else:
                connection, self._lockless = connect(self.path), False
            self._open.append(connection)
            self._state = state_of(self.path, lockless=self._lockless)
        return self._open[0]

    def _maintain(self, statement: str) -> None:
        """Run a statement outside of any transaction; do nothing if the file cannot be written."""
        with self._lock, self._reporting():
            if not self.is_read_only:
                self._connected().execute(statement)

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        """Close the connection after an error from SQLite, and raise StoreFailed with advice."""
        try:
            yield
        except sqlite3.Error as error:
            self.close()
            raise StoreFailed(
                f"the store {self.path} failed: {message_of(error)}; {remedy(error)}"
            ) from error

    def _expect_unchanged(self) -> None:
        if self._lockless and self._state != state_of(self.path, lockless=True):
            raise StoreFailed(f"the store {self.path} was written while it was read without locks; try again")


_SHARED: weakref.WeakValueDictionary[tuple[int, Path], SharedFile] = weakref.WeakValueDictionary()


def shared(path: Path) -> SharedFile:
    """Return the object that represents this file in this process."""
    return _SHARED.setdefault((os.getpid(), path), SharedFile(path))


def _close(connections: list[sqlite3.Connection], pid: int) -> None:
    if pid != os.getpid():
        _LEFT.extend(connections)
    else:
        for connection in connections:
            connection.close()
    connections.clear()
