"""The SQLite file of a store: opened for reading and writing, or read where it cannot be written.

A closed store is a single complete file, but its journal mode makes SQLite create an index file beside it even to read it.
Where that is impossible, the file is opened as immutable, which takes no locks; its size and modification time are then
compared before and after each transaction, so that pages of two states are never mixed. A file of format 1 is upgraded when
it is first opened for writing; if it is opened read-only, its old tables are upgraded in memory.
"""

import os
import sqlite3
from pathlib import Path

from workbench.errors import StoreFailed
from workbench.store.advice import ELSEWHERE, PATIENCE
from workbench.store.schema import FORMAT, bring_up_to_date, format_of, renew_memory

_LOG_KEPT = 4 << 20  # bytes to which the log is truncated once no reader needs it


def connect(path: Path) -> sqlite3.Connection:
    """Open a store's file for reading and writing, creating its folder if necessary; the caller manages transactions.

    Raises:
        StoreFailed: the folder cannot be created, or the file is not a store or has a later format.
        sqlite3.Error: SQLite cannot open it (see `remedy`).
    """
    if path.is_dir():
        raise StoreFailed(f"the store {path} is a folder; name a file, such as {path / 'store.sqlite'}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreFailed(f"cannot create the folder of the store {path}: {error}; {ELSEWHERE}") from error
    connection = _connection(str(path))
    version = format_of(connection, path)
    if version < FORMAT:
        bring_up_to_date(connection, version)
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA journal_size_limit = {_LOG_KEPT}")
    return connection


def connect_read_only(path: Path) -> tuple[sqlite3.Connection, bool]:
    """Open a store's file without writing to it; also return whether it is read without locks (see `state_of`).

    Raises:
        StoreFailed: it is not a store, has a later format, or has answers in a log that cannot be read here.
        sqlite3.Error: as `connect`.
    """
    address = f"{path.absolute().as_uri()}?mode=ro"
    connection, lockless = _connection(address), False
    try:
        version = format_of(connection, path)
    except sqlite3.OperationalError as error:
        _expect_no_log(path, error)
        connection, lockless = _connection(address + "&immutable=1"), True
        version = format_of(connection, path)
    if version == 0:
        raise StoreFailed(f"{path} is empty; {ELSEWHERE}")
    if version < FORMAT:
        renew_memory(connection, "temp")
    return connection, lockless


def _expect_no_log(path: Path, error: sqlite3.OperationalError) -> None:
    """Raise unless a file could not be opened only because its folder is read-only and all its answers are in it."""
    name = getattr(error, "sqlite_errorname", "")  # absent if Python could not decode the message
    if not name.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY")) or not path.exists():
        raise error
    log = log_of(path)
    if log.exists() and log.stat().st_size:
        raise StoreFailed(
            f"{path} is in a read-only folder with answers still in {log.name}; open it once where it can be "
            f"written (`workbench store info`), or {ELSEWHERE}"
        ) from error


def is_read_only(path: Path) -> bool:
    """Whether the file exists and it or its folder, where the log is kept, cannot be written."""
    return path.exists() and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))


def log_of(path: Path) -> Path:
    """Return the path of the write-ahead log, which holds answers committed but not yet moved into the store's file."""
    return path.with_name(path.name + "-wal")


def state_of(path: Path, *, lockless: bool) -> tuple[object, ...]:
    """Return a value that changes when the file is replaced or, if it is read without locks, written."""
    try:
        stat = path.stat()
    except OSError:
        return ()
    which = (stat.st_dev, stat.st_ino)
    return (*which, stat.st_size, stat.st_mtime_ns, log_of(path).exists()) if lockless else which


def _connection(address: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        address,
        timeout=PATIENCE,
        isolation_level=None,
        check_same_thread=False,
        uri=address.startswith("file:"),
    )
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection
