"""A handle for a store's file: cheap to make, since all handles of a process share one connection."""

import os
import sqlite3
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from workbench.errors import StoreFailed
from workbench.store.advice import REPAIR
from workbench.store.file import log_of
from workbench.store.location import default_path, whole_path
from workbench.store.sharing import SharedFile, shared


class Handle:
    """The file at a path (by default `default_path()`), created on first use; safe to share between threads and processes.

    Any error from SQLite is raised as StoreFailed, with advice.
    """

    def __init__(self, path: Path | str | None = None) -> None:
        self.path = whole_path(path) if path is not None else default_path()
        self._shared: SharedFile | None = None

    @property
    def is_read_only(self) -> bool:
        """Whether the file exists and cannot be written."""
        return self._file.is_read_only

    def transaction(self, *, write: bool) -> AbstractContextManager[sqlite3.Connection]:
        """Return a transaction of this thread, for reading or writing many rows."""
        return self._file.transaction(write=write)

    def open(self) -> None:
        """Open the file; create or upgrade it if necessary."""
        with self.transaction(write=False):
            pass

    def checkpoint(self) -> None:
        """Move committed answers from the log into the store's file, so that a copy of that file alone is complete."""
        self.open()
        self._file.checkpoint()

    def close(self) -> None:
        """Release the file; it is closed once no handle of this process uses it, and reopened on the next access."""
        if self._shared is not None and self._shared.pid == os.getpid():
            self._shared.checkpoint()
        self._shared = None

    @property
    def _file(self) -> SharedFile:
        if self._shared is None or self._shared.pid != os.getpid():
            self._shared = shared(self.path)
        return self._shared

    def _damaged(self, what: str) -> StoreFailed:
        return StoreFailed(
            f"{what} in the store {self.path} is damaged (its checksum does not match); {REPAIR}"
        )


def settle() -> None:
    """Move answers left in the default store's log by processes that have ended into the store's file, if possible.

    Afterwards a copy of the file alone holds every answer and can be read from a read-only location.
    """
    path = default_path()
    if log_of(path).exists():
        with suppress(StoreFailed):
            handle = Handle(path)
            handle.checkpoint()
            handle.close()
