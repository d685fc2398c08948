"""Answers on disk, keyed by everything that can change them.

One SQLite file (write-ahead log) that several processes of one machine may share, and the threads of each. A *context* is
what many answers have in common (model digest, dtype, settings …), a *question* what is special to one (the prompt …); both
are canonical JSON, and the key is a hash of the two. A batch is one transaction: killed at any moment, what was committed is
whole and what was not is absent. Values are JSON text, or the bytes of an .npy file; nothing is pickled.

The log is shared memory of one machine: processes on several machines that write one file over a network file system damage
it. There each machine has a file of its own, and `workbench store import` merges them.
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
    """A stored value (JSON value or .npy bytes) and the family of devices that computed it ("cpu", "cuda")."""

    value: Any
    device: str


def default_path() -> Path:
    """`$WORKBENCH_STORE`, or `store.sqlite` under the user's cache folder.

    A relative path is taken from the working folder of the first call, here and in processes started later.

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
    """Move what processes that have ended left in the default store's log into its file, where that can be done.

    A copy of the file alone then has every answer, and a place where nothing can be written can show it.
    """
    path = default_path()
    if log_of(path).exists():
        with suppress(StoreFailed):
            store = Store(path)
            store.checkpoint()
            store.close()


class Store:
    """The answers in one file; made on first use, safe to share between threads and between processes of one machine."""

    def __init__(self, path: Path | str | None = None) -> None:
        self.path = _whole_path(path) if path is not None else default_path()
        self._shared: SharedFile | None = None

    def get(
        self, context: str, questions: Sequence[str], *, device: str | None = None
    ) -> list[Answer | None]:
        """Look up one answer per question, None where there is none yet.

        Args:
            device: only answers that this family of devices gave; by default the first one, whoever gave it.

        Raises:
            StoreFailed: the file cannot be read, or an entry is damaged; never a silent recompute.
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
        """Commit a batch of (question, value) in one transaction; an answer of this family of devices that is there stays.

        Args:
            libraries: with which versions they were computed, "torch 2.13.0, …": recorded with the context, not keyed.

        Raises:
            StoreFailed: disk full, read-only, or damaged; nothing of this batch is kept then.
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
        """Recall the digest of a file that had this size, these times and this inode.

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
        """Remember the digest of a file, as it was when `stat` was taken, so that gigabytes are read once."""
        name, stamp = plain(str(path)), _stamp(stat)
        self._remember("files", (name, stamp, digest, checksum_of(name, stamp, digest)))

    def identity(self, name: str) -> dict[str, Any] | None:
        """Recall what a model name stood for when it was last seen.

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
        """Remember what a model name stands for, so that its answers are found without its weights."""
        name, text = plain(name), plain(canonical(identity))
        with self.transaction(write=False) as connection:
            known = connection.execute("SELECT identity FROM identities WHERE name = ?", (name,)).fetchone()
        if known != (text,):
            self._remember("identities", (name, text, checksum_of(name, text)))

    def identities(self) -> dict[str, dict[str, Any]]:
        """What every remembered name stood for when it was last seen.

        Raises:
            StoreFailed: an entry is damaged, or the store cannot be read.
        """
        with self.transaction(write=False) as connection:
            rows = connection.execute("SELECT * FROM identities ORDER BY name").fetchall()
        found = {row[0]: self._identity(*row) for row in rows}
        return {name: about for name, about in found.items() if about is not None}

    def contexts(self) -> list[str]:
        """All contexts that have answers, in a fixed order.

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
        """Every (question, value, device, batch size) of a context, ordered by key.

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
        """The rows of all answers in these contexts, ordered by key, as they are in the file."""
        wanted = {digest_of(context) for context in contexts}
        with self.transaction(write=False) as connection:
            for row in connection.execute("SELECT * FROM answers ORDER BY key"):
                if row[1] in wanted:
                    yield row

    def origins(self, contexts: Iterable[str]) -> Iterator[Origin]:
        """The library versions that computed the answers in these contexts, as they are in the file."""
        wanted = {digest_of(context) for context in contexts}
        with self.transaction(write=False) as connection:
            for row in connection.execute("SELECT * FROM origins ORDER BY context, libraries"):
                if row[0] in wanted:
                    yield row

    @property
    def is_read_only(self) -> bool:
        """Whether the file is there and cannot be written."""
        return self._file.is_read_only

    def info(self, algorithms: Algorithms | None = None) -> dict[str, Any]:
        """Count what is in the store, also where some of it is damaged: answers by kind and model, size in bytes.

        `libraries` lists, for each model whose answers were computed with more than one set of versions, those sets.

        Args:
            algorithms: today's versions by engine and kind; answers by others are kept and not used, and counted apart as `superseded`.
        """
        with self.transaction(write=False) as connection:
            counts = count_answers(connection, algorithms or {})
        size = sum(path.stat().st_size for path in (self.path, log_of(self.path)) if path.exists())
        return {"path": str(self.path), "bytes": size, **counts}

    def prune(self, algorithms: Algorithms) -> int:
        """Remove the answers by superseded algorithms, and give their space back; says how many they were."""
        with self.transaction(write=True) as connection:
            removed = remove_superseded(connection, algorithms)
        self._file.vacuum()
        return removed

    def checkpoint(self) -> None:
        """Move what is committed into the store's file, so that a copy of that file alone has every answer."""
        with self.transaction(write=False):
            pass  # opened
        self._file.checkpoint()

    def close(self) -> None:
        """Let go of the file, which is closed when no other handle of this process has it open; it opens again by itself."""
        if self._shared is not None and self._shared.pid == os.getpid():
            self._shared.checkpoint()
        self._shared = None

    @property
    def _file(self) -> SharedFile:
        if self._shared is None or self._shared.pid != os.getpid():
            self._shared = shared(self.path)
        return self._shared

    def transaction(self, *, write: bool) -> AbstractContextManager[sqlite3.Connection]:
        """A transaction of this thread, for those who read or write many rows.

        Raises:
            StoreFailed: whatever SQLite found wrong.
        """
        return self._file.transaction(write=write)

    def _find(self, context: bytes, asked: dict[bytes, str]) -> dict[bytes, Answer]:
        """The answers under these keys, each given to this question in this context."""
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
        """Keep what can be found again: where the store is read-only, it is not kept, with one notice."""
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
