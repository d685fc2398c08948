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
from workbench.identities import public_identities

FORMAT = 1
_APPLICATION_ID = 0x776B6273  # "wkbs": tells our files from other SQLite files
_SCHEMA = f"""
BEGIN IMMEDIATE;
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {FORMAT};
CREATE TABLE IF NOT EXISTS contexts (digest BLOB PRIMARY KEY, context TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS answers (
  key BLOB PRIMARY KEY, context BLOB NOT NULL, question TEXT NOT NULL, answer NOT NULL,
  checksum INTEGER NOT NULL, device TEXT NOT NULL, batch_size INTEGER NOT NULL, made REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, size INTEGER, changed INTEGER, digest TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS identities (name TEXT PRIMARY KEY, identity TEXT NOT NULL) WITHOUT ROWID;
COMMIT;
"""
_KEYS_PER_QUERY = 500
_PATIENCE = 60  # seconds to wait for other processes


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
                raise StoreFailed(f"{self.path} is damaged as a database: {whole}; {_RECOVER}")
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
            raise StoreFailed(f"the store {self.path} failed: {error}; {_remedy(error)}") from error

    def _open(self) -> sqlite3.Connection:
        if self._connection is None or self._owner != os.getpid():  # a connection must not cross a fork
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreFailed(
                    f"cannot make the folder of the store {self.path}: {error}; {_ELSEWHERE}"
                ) from error
            self._connection = self._connect()
            self._owner = os.getpid()
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        if self.path.exists() and not os.access(self.path.parent, os.W_OK):
            log = self.path.with_name(self.path.name + "-wal")
            if log.exists() and log.stat().st_size:
                raise StoreFailed(
                    f"{self.path} is in a read-only folder with answers still in {log.name}; {_ELSEWHERE}"
                )
            address = f"{self.path.absolute().as_uri()}?mode=ro&immutable=1"
            return self._prepare(sqlite3.connect(address, uri=True, isolation_level=None))
        return self._prepare(sqlite3.connect(self.path, timeout=_PATIENCE, isolation_level=None))

    def _prepare(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        connection.execute("BEGIN")  # one look, since another process may be making the store
        mark = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        connection.execute("COMMIT")
        if tables and mark != _APPLICATION_ID:
            raise StoreFailed(f"{self.path} is a database but not a store of the workbench; {_ELSEWHERE}")
        if version > FORMAT:
            raise StoreFailed(
                f"{self.path} has format {version}, this workbench reads up to {FORMAT}; update it"
            )
        if not tables:
            _make(connection)
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    def _damaged(self, key: bytes) -> StoreFailed:
        return StoreFailed(
            f"the entry {key.hex()} of the store {self.path} is damaged (its checksum does not fit); "
            "`workbench store check --repair` removes damaged entries, and they are computed again"
        )


def _make(connection: sqlite3.Connection) -> None:
    """Turn an empty file into a store; where others do so too, SQLite may refuse at once instead of waiting its turn."""
    stop = time.monotonic() + _PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(_SCHEMA)
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > stop:
                raise
            time.sleep(0.01)
        else:
            return


_ELSEWHERE = "name another file in WORKBENCH_STORE"
_RECOVER = f"`sqlite3 FILE .recover` may save what is in it; move it away or {_ELSEWHERE}"


def _remedy(error: sqlite3.Error) -> str:
    text = str(error)
    if "full" in text or "I/O" in text:
        return f"free some space, or {_ELSEWHERE}; what was committed before is safe"
    if "locked" in text:
        return f"another process has held it for {_PATIENCE} s; end that one and start again, or {_ELSEWHERE}"
    if "readonly" in text or "unable to open" in text:
        return f"make it writable, or {_ELSEWHERE}"
    return _RECOVER


def _digest(context: str) -> bytes:
    return blake2b(context.encode(), digest_size=20).digest()


def _key(shared: bytes, question: str) -> bytes:
    return blake2b(question.encode(), key=shared, digest_size=20).digest()


def _checksum(question: str, answer: str | bytes) -> int:
    raw = answer if isinstance(answer, bytes) else answer.encode()
    return zlib.crc32(raw, zlib.crc32(question.encode()))
