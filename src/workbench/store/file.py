"""The SQLite file of a store: made on first use, told from other files, opened read-only where the folder is."""

import os
import sqlite3
import time
from pathlib import Path

from workbench.errors import StoreFailed

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
_PATIENCE = 60  # seconds to wait for other processes
_ELSEWHERE = "name another file in WORKBENCH_STORE"
RECOVER = f"`sqlite3 FILE .recover` may save what is in it; move it away or {_ELSEWHERE}"


def connect(path: Path) -> sqlite3.Connection:
    """Open a store's file, in a folder that is made if need be; transactions are the caller's.

    Raises:
        StoreFailed: the folder cannot be made, the file is no store or of a later format, or answers wait in a log
            that cannot be read in a read-only folder.
        sqlite3.Error: SQLite cannot open it (`remedy` says what to do).
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreFailed(f"cannot make the folder of the store {path}: {error}; {_ELSEWHERE}") from error
    if not path.exists() or os.access(path.parent, os.W_OK):
        connection = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)
    else:
        log = path.with_name(path.name + "-wal")
        if log.exists() and log.stat().st_size:
            raise StoreFailed(
                f"{path} is in a read-only folder with answers still in {log.name}; {_ELSEWHERE}"
            )
        address = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        connection = sqlite3.connect(address, uri=True, isolation_level=None)
    if not _is_made(connection, path):
        _make(connection)
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def remedy(error: sqlite3.Error) -> str:
    """Say what to do about an error of SQLite."""
    text = str(error)
    if "full" in text or "I/O" in text:
        return f"free some space, or {_ELSEWHERE}; what was committed before is safe"
    if "locked" in text:
        return f"another process has held it for {_PATIENCE} s; end that one and start again, or {_ELSEWHERE}"
    if "readonly" in text or "unable to open" in text:
        return f"make it writable, or {_ELSEWHERE}"
    return RECOVER


def _is_made(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether the file is a store already; in one look, since another process may be making it."""
    connection.execute("BEGIN")
    mark = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    connection.execute("COMMIT")
    if tables and mark != _APPLICATION_ID:
        raise StoreFailed(f"{path} is a database but not a store of the workbench; {_ELSEWHERE}")
    if version > FORMAT:
        raise StoreFailed(f"{path} has format {version}, this workbench reads up to {FORMAT}; update it")
    return bool(tables)


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
