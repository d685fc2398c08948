"""Answers on disk, keyed by everything that can change them.

The store is one SQLite file (write-ahead log), shared by the threads and processes of one machine. A *context* is what
many answers have in common (model digest, dtype, settings …); a *question* is what is specific to one (the prompt …). Both
are canonical JSON, and the key is a hash of the two. A batch is one transaction: if the process is killed, a batch is
either complete or absent. Values are JSON text or the bytes of an .npy file; nothing is pickled.

The write-ahead log uses shared memory, so processes on several machines must not write to one file over a network file
system: that corrupts it. Give each machine its own file and merge them with `workbench store import`.
"""

import os
import sqlite3
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from workbench.errors import StoreFailed
from workbench.paths import expanded
from workbench.store.contents import Algorithms, count_answers, remove_superseded
from workbench.store.file import REPAIR, log_of
from workbench.store.names import identity_in
from workbench.store.rows import (
    Origin,
    Row,
    add_context,
    add_first,
    add_origins,
    add_others,
    canonical,
    checksum_of,
    digest_of,
    is_sealed,
    key_of,
    origin,
    plain,
    seal,
    value_of,
)
from workbench.store.sharing import SharedFile, shared

__all__ = ["REPAIR", "Answer", "Store", "canonical", "default_path", "settle"]
_KEYS_PER_QUERY = 500


@dataclass(frozen=True)
class Answer:
    """A stored value (JSON value or .npy bytes) and the device family that computed it ("cpu", "cuda")."""

    value: Any
    device: str


def default_path() -> Path:
    """Return `$WORKBENCH_STORE`, or `store.sqlite` in the user's cache folder.

    A relative path is resolved against the working directory at the first call, and the environment variable is updated so
    that child processes use the same file.

    Raises:
        StoreFailed: the path begins with the home of a user who does not exist.
    """
    named = os.environ.get("WORKBENCH_STORE")
    if not named:
        return user_cache_path("workbench") / "store.sqlite"
    path = _whole_path(named)
    os.environ["WORKBENCH_STORE"] = str(path)
    return path


def settle() -> None:
    """Move answers left in the default store's log by processes that have ended into the store's file, if possible.

    Afterwards a copy of the file alone holds every answer and can be read from a read-only location.
    """
    path = default_path()
    if log_of(path).exists():
        with suppress(StoreFailed):
            store = Store(path)
            store.checkpoint()
            store.close()


class Store:
    """The answers in one file: created on first use, safe to share between threads and processes of one machine."""

    def __init__(self, path: Path | str | None = None) -> None:
        self.path = _whole_path(path) if path is not None else default_path()
        self._shared: SharedFile | None = None

    def get(
        self, context: str, questions: Sequence[str], *, device: str | None = None
    ) -> list[Answer | None]:
        """Look up one answer per question; None where there is none yet.

        Args:
            device: accept only answers computed by this device family; by default, the first answer from any device.

        Raises:
            StoreFailed: the file cannot be read, or an entry is damaged; a damaged answer is never silently recomputed.
        """
        shared = digest_of(context)
        keys = [key_of(shared, question) for question in questions]
        found = self._find(shared, dict(zip(keys, questions, strict=True)))
        if device is None:
            return [found.get(key) for key in keys]
        own = [key_of(shared, question, device) for question in questions]
        others = {
            second: question
            for first, second, question in zip(keys, own, questions, strict=True)
            if first in found and found[first].device != device
        }
        found |= self._find(shared, others)
        given = [found.get(second) or found.get(first) for first, second in zip(keys, own, strict=True)]
        return [answer if answer is not None and answer.device == device else None for answer in given]

    def put(
        self,
        context: str,
        pairs: Sequence[tuple[str, Any]],
        *,
        device: str,
        batch_size: int = 1,
        libraries: str | None = None,
    ) -> None:
        """Commit a batch of (question, value) pairs in one transaction; existing answers of this device family are kept.

        Args:
            libraries: versions they were computed with, "torch 2.13.0, …"; recorded with the context, not part of the key.

        Raises:
            StoreFailed: the disk is full, or the store read-only or damaged; nothing of the batch is stored.
        """
        shared, made = digest_of(context), time.time()
        rows: list[Row] = []
        for question, value in pairs:
            answer = value if isinstance(value, bytes) else canonical(value)
            sealed = seal(shared, question, answer, device, batch_size, made)
            rows.append(
                (key_of(shared, question), shared, question, answer, sealed, device, batch_size, made)
            )
        with self.transaction(write=True) as connection:
            add_context(connection, shared, context)
            if libraries is not None:
                add_origins(connection, [origin(shared, libraries, made)])
            if add_first(connection, rows) < len(rows):
                add_others(connection, rows)

    def file_digest(self, path: Path, stat: os.stat_result) -> str | None:
        """Return the remembered digest of a file with this size, these timestamps and this inode, else None.

        Raises:
            StoreFailed: the entry is damaged, or the store cannot be read.
        """
        name, stamp = plain(str(path)), _stamp(stat)
        with self.transaction(write=False) as connection:
            row = connection.execute(
                "SELECT digest, checksum FROM files WHERE path = ? AND stamp = ?", (name, stamp)
            ).fetchone()
        if row is None:
            return None
        if not isinstance(row[0], str) or row[1] != checksum_of(name, stamp, row[0]):
            raise self._damaged(f"the digest of the file {name}")
        return row[0]

    def remember_file(self, path: Path, stat: os.stat_result, digest: str) -> None:
        """Remember the digest of a file in the state given by `stat`, so that large files are hashed only once."""
        name, stamp = plain(str(path)), _stamp(stat)
        self._remember("files", (name, stamp, digest, checksum_of(name, stamp, digest)))

    def identity(self, name: str) -> dict[str, Any] | None:
        """Return what a model name stood for when it was last resolved, or None.

        Raises:
            StoreFailed: the entry is damaged, or the store cannot be read.
        """
        name = plain(name)
        with self.transaction(write=False) as connection:
            row = connection.execute(
                "SELECT identity, checksum FROM identities WHERE name = ?", (name,)
            ).fetchone()
        return None if row is None else self._identity(name, *row)

    def remember_identity(self, name: str, identity: dict[str, Any]) -> None:
        """Remember what a model name stands for, so that its answers can be found without its weights."""
        name, text = plain(name), plain(canonical(identity))
        with self.transaction(write=False) as connection:
            known = connection.execute("SELECT identity FROM identities WHERE name = ?", (name,)).fetchone()
        if known != (text,):
            self._remember("identities", (name, text, checksum_of(name, text)))

    def identities(self) -> dict[str, dict[str, Any]]:
        """Return what every remembered name stood for when it was last resolved.

        Raises:
            StoreFailed: an entry is damaged, or the store cannot be read.
        """
        with self.transaction(write=False) as connection:
            rows = connection.execute("SELECT * FROM identities ORDER BY name").fetchall()
        found = {row[0]: self._identity(*row) for row in rows}
        return {name: about for name, about in found.items() if about is not None}

    def contexts(self) -> list[str]:
        """Return all contexts, in a fixed order.

        Raises:
            StoreFailed: one is damaged, or the store cannot be read.
        """
        with self.transaction(write=False) as connection:
            rows = connection.execute("SELECT digest, context FROM contexts ORDER BY digest").fetchall()
        for digest, context in rows:
            if not isinstance(context, str) or digest != digest_of(context):
                raise self._damaged(f"the settings {_shown(digest)}")
        return [context for _, context in rows]

    def entries(self, context: str) -> list[tuple[str, Any, str, int]]:
        """Return every (question, value, device, batch size) of a context, ordered by key.

        Raises:
            StoreFailed: an entry is damaged.
        """
        found = []
        for key, digest, question, answer, checksum, device, batch_size, made in self.rows([context]):
            if not is_sealed(digest, question, answer, checksum, device, batch_size, made):
                raise self._damaged(f"the answer {_shown(key)}")
            found.append((question, self._read(key, answer), device, batch_size))
        return found

    def rows(self, contexts: Iterable[str]) -> Iterator[Row]:
        """Yield the raw rows of all answers in these contexts, ordered by key."""
        wanted = {digest_of(context) for context in contexts}
        with self.transaction(write=False) as connection:
            for row in connection.execute("SELECT * FROM answers ORDER BY key"):
                if row[1] in wanted:
                    yield row

    def origins(self, contexts: Iterable[str]) -> Iterator[Origin]:
        """Yield the raw rows with the library versions that computed the answers in these contexts."""
        wanted = {digest_of(context) for context in contexts}
        with self.transaction(write=False) as connection:
            for row in connection.execute("SELECT * FROM origins ORDER BY context, libraries"):
                if row[0] in wanted:
                    yield row

    @property
    def is_read_only(self) -> bool:
        """Whether the file exists and cannot be written."""
        return self._file.is_read_only

    def info(self, algorithms: Algorithms | None = None) -> dict[str, Any]:
        """Return the number of answers by kind and model, and the size in bytes; works on a partly damaged store.

        `libraries` lists the sets of library versions of each model whose answers were computed with more than one.

        Args:
            algorithms: current algorithm versions by engine and kind; answers of other versions, which are kept but never used,
                are counted separately as `superseded`.
        """
        with self.transaction(write=False) as connection:
            counts = count_answers(connection, algorithms or {})
        size = sum(path.stat().st_size for path in (self.path, log_of(self.path)) if path.exists())
        return {"path": str(self.path), "bytes": size, **counts}

    def prune(self, algorithms: Algorithms) -> int:
        """Remove the answers of superseded algorithms, free their disk space, and return their number."""
        with self.transaction(write=True) as connection:
            removed = remove_superseded(connection, algorithms)
        self._file.vacuum()
        return removed

    def checkpoint(self) -> None:
        """Move committed answers from the log into the store's file, so that a copy of that file alone is complete."""
        with self.transaction(write=False):
            pass  # opens the file
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

    def transaction(self, *, write: bool) -> AbstractContextManager[sqlite3.Connection]:
        """Return a transaction of this thread, for reading or writing many rows.

        Raises:
            StoreFailed: any error from SQLite.
        """
        return self._file.transaction(write=write)

    def _find(self, context: bytes, asked: dict[bytes, str]) -> dict[bytes, Answer]:
        """Return the answers under these keys, checking that each belongs to its question in this context."""
        found: dict[bytes, Answer] = {}
        keys = list(asked)
        with self.transaction(write=False) as connection:
            for start in range(0, len(keys), _KEYS_PER_QUERY):
                part = keys[start : start + _KEYS_PER_QUERY]
                marks = ",".join("?" * len(part))
                rows = connection.execute(
                    "SELECT key, question, answer, checksum, device, batch_size, made FROM answers "
                    f"WHERE key IN ({marks})",
                    part,
                )
                for key, question, answer, checksum, device, size, made in rows:
                    if question != asked.get(key) or not is_sealed(
                        context, question, answer, checksum, device, size, made
                    ):
                        raise self._damaged(f"the answer {_shown(key)}")
                    found[key] = Answer(self._read(key, answer), device)
        return found

    def _read(self, key: bytes, answer: str | bytes) -> Any:
        try:
            return value_of(answer)
        except ValueError:
            raise self._damaged(f"the answer {_shown(key)}") from None

    def _identity(self, name: str, text: object, checksum: object) -> dict[str, Any] | None:
        try:
            return identity_in(name, text, checksum)
        except ValueError:
            raise self._damaged(f"what is remembered of the model {name!r}") from None

    def _remember(self, table: str, row: tuple[str | int, ...]) -> None:
        """Store a fact that can be recomputed; on a read-only store, warn once and do nothing."""
        if self.is_read_only:
            if self.path not in _NOTICED:
                _NOTICED.add(self.path)
                warnings.warn(
                    f"the store {self.path} is read-only here: its answers are read, and nothing is remembered",
                    stacklevel=2,
                )
            return
        marks = ",".join("?" * len(row))
        with self.transaction(write=True) as connection:
            connection.execute(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", row)

    def _damaged(self, what: str) -> StoreFailed:
        return StoreFailed(
            f"{what} in the store {self.path} is damaged (its checksum does not fit); {REPAIR}"
        )


_NOTICED: set[Path] = set()


def _shown(key: object) -> str:
    return key.hex() if isinstance(key, bytes) else repr(key)


def _stamp(stat: os.stat_result) -> str:
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}"


def _whole_path(path: Path | str) -> Path:
    whole = expanded(path)
    if str(whole).startswith("~"):
        raise StoreFailed(
            f"the store {path} names no folder, since there is no such user; write the path in full"
        )
    return whole.absolute()
