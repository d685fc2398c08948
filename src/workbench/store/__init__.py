"""Answers on disk, keyed by everything that can change them.

One SQLite file (write-ahead log) that several processes may share. A *context* is what many answers have in
common (model digest, dtype, settings …), a *question* what is special to one (the prompt …); both are canonical
JSON, and the key is a hash of the two. The store does not know what they mean. A batch is one transaction:
killed at any moment, what was committed is whole and what was not is absent. Values are JSON text, or the bytes
of an .npy file; nothing is pickled.
"""

import contextlib
import json
import os
import sqlite3
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from workbench.errors import StoreFailed
from workbench.store.file import RECOVER, connect, remedy
from workbench.store.names import public_identities

_KEYS_PER_QUERY = 500


@dataclass(frozen=True)
class Answer:
    """A stored value (JSON value or .npy bytes) and the kind of device that computed it ("cpu", "cuda")."""

    value: Any
    device: str


def canonical(value: Any) -> str:
    """Write a JSON value in the one form that is hashed."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def default_path() -> Path:
    """`$WORKBENCH_STORE`, or `store.sqlite` under the user's cache folder."""
    named = os.environ.get("WORKBENCH_STORE")
    return Path(named) if named else user_cache_path("workbench") / "store.sqlite"


class Store:
    """The answers in one file; made on first use, safe to share between processes."""

    def __init__(self, path: Path | str | None = None) -> None:
        self.path = Path(path) if path is not None else default_path()
        self._connection: sqlite3.Connection | None = None
        self._owner = 0

    def get(self, context: str, questions: Sequence[str]) -> list[Answer | None]:
        """Look up one answer per question, None where there is none yet.

        Raises:
            StoreFailed: the file cannot be read, or an entry is damaged; never a silent recompute.
        """
        shared = _digest(context)
        keys = [_key(shared, question) for question in questions]
        asked = dict(zip(keys, questions, strict=True))
        found: dict[bytes, Answer] = {}
        unique = list(asked)
        with self._transaction(write=False) as connection:
            for start in range(0, len(unique), _KEYS_PER_QUERY):
                part = unique[start : start + _KEYS_PER_QUERY]
                marks = ",".join("?" * len(part))
                rows = connection.execute(
                    f"SELECT key, question, answer, checksum, device FROM answers WHERE key IN ({marks})",
                    part,
                )
                for key, question, answer, checksum, device in rows:
                    if question != asked[key] or checksum != _checksum(question, answer):
                        raise self._damaged(key)
                    found[key] = Answer(answer if isinstance(answer, bytes) else json.loads(answer), device)
        return [found.get(key) for key in keys]

    def put(
        self, context: str, pairs: Sequence[tuple[str, Any]], *, device: str, batch_size: int = 1
    ) -> None:
        """Commit a batch of (question, value) in one transaction; an answer that is there already stays.

        Raises:
            StoreFailed: disk full, read-only, or damaged; nothing of this batch is kept then.
        """
        shared, now = _digest(context), time.time()
        rows = []
        for question, value in pairs:
            answer = value if isinstance(value, bytes) else canonical(value)
            found = (_key(shared, question), shared, question, answer, _checksum(question, answer))
            rows.append((*found, device, batch_size, now))
        with self._transaction(write=True) as connection:
            connection.execute("INSERT OR IGNORE INTO contexts VALUES (?, ?)", (shared, context))
            connection.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def file_digest(self, path: Path, size: int, changed: int) -> str | None:
        """Recall the digest of a file that had this size and time of change (ns)."""
        with self._transaction(write=False) as connection:
            row = connection.execute(
                "SELECT digest FROM files WHERE path = ? AND size = ? AND changed = ?",
                (str(path), size, changed),
            ).fetchone()
        return row[0] if row else None

    def remember_file(self, path: Path, size: int, changed: int, digest: str) -> None:
        """Remember a file's digest, so that gigabytes are read once."""
        with self._transaction(write=True) as connection:
            connection.execute(
                "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", (str(path), size, changed, digest)
            )

    def identity(self, name: str) -> dict[str, Any] | None:
        """Recall what a model name stood for when it was last seen."""
        with self._transaction(write=False) as connection:
            row = connection.execute("SELECT identity FROM identities WHERE name = ?", (name,)).fetchone()
        return json.loads(row[0]) if row else None

    def remember_identity(self, name: str, identity: dict[str, Any]) -> None:
        """Remember what a model name stands for, so that its answers are found without its weights."""
        if self.identity(name) != identity:
            with self._transaction(write=True) as connection:
                connection.execute(
                    "INSERT OR REPLACE INTO identities VALUES (?, ?)", (name, canonical(identity))
                )

    def identities(self) -> dict[str, dict[str, Any]]:
        """What every remembered name stood for when it was last seen."""
        with self._transaction(write=False) as connection:
            rows = connection.execute("SELECT name, identity FROM identities ORDER BY name").fetchall()
        return {name: json.loads(identity) for name, identity in rows}

    def contexts(self) -> list[str]:
        """All contexts that have answers, in a fixed order."""
        with self._transaction(write=False) as connection:
            rows = connection.execute("SELECT context FROM contexts ORDER BY digest").fetchall()
        return [context for (context,) in rows]

    def entries(self, context: str) -> list[tuple[str, Any, str, int]]:
        """Every (question, value, device, batch size) of a context, ordered by key.

        Raises:
            StoreFailed: an entry is damaged.
        """
        with self._transaction(write=False) as connection:
            rows = connection.execute(
                "SELECT key, question, answer, checksum, device, batch_size FROM answers WHERE context = ? ORDER BY key",
                (_digest(context),),
            ).fetchall()
        for key, question, answer, checksum, *_ in rows:
            if checksum != _checksum(question, answer):
                raise self._damaged(key)
        return [
            (question, answer if isinstance(answer, bytes) else json.loads(answer), device, batch_size)
            for _, question, answer, _, device, batch_size in rows
        ]

    def info(self) -> dict[str, Any]:
        """Count what is in the store: answers by kind and model, size in bytes."""
        with self._transaction(write=False) as connection:
            rows = connection.execute(
                "SELECT c.context, count(*) FROM answers a JOIN contexts c ON a.context = c.digest GROUP BY a.context"
            ).fetchall()
        names = {about["weights"]: name for name, about in public_identities(self.identities()).items()}
        counts: dict[str, int] = {}
        for context, count in rows:
            fields = json.loads(context)
            model = names.get(fields.get("weights"), str(fields.get("weights"))[:12])
            label = f"{fields.get('kind')} {model} {fields.get('dtype')}"
            counts[label] = counts.get(label, 0) + count
        size = self.path.stat().st_size
        return {"path": str(self.path), "bytes": size, "answers": sum(counts.values()), "by_kind": counts}

    def check(self, *, repair: bool = False) -> list[str]:
        """Read every entry and list the keys of damaged ones; `repair` removes those, to be computed again."""
        with self._transaction(write=repair) as connection:
            whole = connection.execute("PRAGMA integrity_check").fetchone()[0]
            if whole != "ok":
                raise StoreFailed(f"{self.path} is damaged as a database: {whole}; {RECOVER}")
            damaged = [
                key
                for key, context, question, answer, checksum in connection.execute(
                    "SELECT key, context, question, answer, checksum FROM answers"
                )
                if key != _key(context, question) or checksum != _checksum(question, answer)
            ]
            if repair:
                connection.executemany("DELETE FROM answers WHERE key = ?", [(key,) for key in damaged])
        return [key.hex() for key in damaged]

    def close(self) -> None:
        """Close the file; it opens again by itself."""
        if self._connection is not None and self._owner == os.getpid():
            self._connection.close()
        self._connection = None

    @contextlib.contextmanager
    def _transaction(self, *, write: bool) -> Iterator[sqlite3.Connection]:
        try:
            connection = self._open()
            connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            self.close()
            raise StoreFailed(f"the store {self.path} failed: {error}; {remedy(error)}") from error

    def _open(self) -> sqlite3.Connection:
        if self._connection is None or self._owner != os.getpid():  # a connection must not cross a fork
            self._connection, self._owner = connect(self.path), os.getpid()
        return self._connection

    def _damaged(self, key: bytes) -> StoreFailed:
        return StoreFailed(
            f"the entry {key.hex()} of the store {self.path} is damaged (its checksum does not fit); "
            "`workbench store check --repair` removes damaged entries, and they are computed again"
        )


def _digest(context: str) -> bytes:
    return blake2b(context.encode(), digest_size=20).digest()


def _key(shared: bytes, question: str) -> bytes:
    return blake2b(question.encode(), key=shared, digest_size=20).digest()


def _checksum(question: str, answer: str | bytes) -> int:
    raw = answer if isinstance(answer, bytes) else answer.encode()
    return zlib.crc32(raw, zlib.crc32(question.encode()))
