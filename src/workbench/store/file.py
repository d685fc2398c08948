"""The SQLite file of a store: creation, recognition, upgrade, and reading where it cannot be written.

A file of format 1 is upgraded in one transaction when it is first opened for writing; if it is opened read-only, its old
tables are upgraded in memory. The table of answers is unchanged since format 1, so the cost of the upgrade does not grow
with their number.

Read-only access: a closed store is a single complete file, but its journal mode makes SQLite create an index file beside
it. Where that is impossible, the file is opened as immutable, which takes no locks; its size and modification time are
then compared before and after each transaction, so that pages of two states are never mixed.
"""

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from workbench.errors import StoreFailed
from workbench.store.rows import checksum_of

FORMAT = 2
_APPLICATION_ID = 0x776B6273  # "wkbs": distinguishes our files from other SQLite files
_CONTEXTS = "CREATE TABLE contexts (digest BLOB PRIMARY KEY, context TEXT NOT NULL) WITHOUT ROWID"
_ANSWERS = (
    "CREATE TABLE answers ( key BLOB PRIMARY KEY, context BLOB NOT NULL, question TEXT NOT NULL, answer NOT NULL, "
    "checksum INTEGER NOT NULL, device TEXT NOT NULL, batch_size INTEGER NOT NULL, made REAL NOT NULL) WITHOUT ROWID"
)
TABLES = {
    1: {
        "contexts": _CONTEXTS,
        "answers": _ANSWERS,
        "files": "CREATE TABLE files (path TEXT PRIMARY KEY, size INTEGER, changed INTEGER, digest TEXT) WITHOUT ROWID",
        "identities": "CREATE TABLE identities (name TEXT PRIMARY KEY, identity TEXT NOT NULL) WITHOUT ROWID",
    },
    FORMAT: {
        "contexts": _CONTEXTS,
        "answers": _ANSWERS,
        "files": "CREATE TABLE files (path TEXT PRIMARY KEY, stamp TEXT NOT NULL, digest TEXT NOT NULL, "
        "checksum INTEGER NOT NULL) WITHOUT ROWID",
        "identities": "CREATE TABLE identities (name TEXT PRIMARY KEY, identity TEXT NOT NULL, "
        "checksum INTEGER NOT NULL) WITHOUT ROWID",
        "origins": "CREATE TABLE origins (context BLOB NOT NULL, libraries TEXT NOT NULL, first REAL NOT NULL, "
        "checksum INTEGER NOT NULL, PRIMARY KEY (context, libraries)) WITHOUT ROWID",
    },
}
_PATIENCE = 60  # seconds to wait for other processes
_SHOWN = 300  # characters of SQLite's message
_LOG_KEPT = 4 << 20  # bytes to which the log is truncated once no reader needs it
_ELSEWHERE = "name another file in WORKBENCH_STORE"
REPAIR = "`workbench store check --repair` removes damaged entries, and they are computed again"
RECOVER = f"`sqlite3 FILE .recover` may save what is in it; move it away or {_ELSEWHERE}"


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
        raise StoreFailed(f"cannot make the folder of the store {path}: {error}; {_ELSEWHERE}") from error
    connection = _connection(str(path))
    version = _format_of(connection, path)
    if version < FORMAT:
        _in_turn(lambda: _make(connection) if version == 0 else _upgrade(connection))
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
        version = _format_of(connection, path)
    except sqlite3.OperationalError as error:
        log = log_of(path)
        name = getattr(error, "sqlite_errorname", "")  # absent if Python could not decode the message
        if not name.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY")) or not path.exists():
            raise
        if log.exists() and log.stat().st_size:
            raise StoreFailed(
                f"{path} is in a read-only folder with answers still in {log.name}; open it once where it can be "
                f"written (`workbench store info`), or {_ELSEWHERE}"
            ) from error
        connection, lockless = _connection(address + "&immutable=1"), True
        version = _format_of(connection, path)
    if version == 0:
        raise StoreFailed(f"{path} is empty; {_ELSEWHERE}")
    if version < FORMAT:
        _renew_memories(connection, "temp")  # temporary tables hide those of the same name in the file
    return connection, lockless


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


def message_of(error: Exception) -> str:
    """Return an error of SQLite as one printable line; its messages may quote damaged text."""
    line = " ".join(str(error).split())[:_SHOWN]
    return "".join(sign if sign.isprintable() else "·" for sign in line)


def remedy(error: sqlite3.Error) -> str:
    """Return advice on an error of SQLite."""
    text = str(error)
    if "full" in text or "I/O" in text:
        return f"free some space, or {_ELSEWHERE}; what was committed before is safe"
    if "locked" in text:
        return f"another process has held it for {_PATIENCE} s; end that one and start again, or {_ELSEWHERE}"
    if "readonly" in text or "unable to open" in text:
        return f"make it writable, or {_ELSEWHERE}"
    if "UTF-8" in text or "too big" in text:
        return REPAIR
    return RECOVER


def schema_of(connection: sqlite3.Connection) -> dict[str, str]:
    """Return the SQL statements that created the tables and triggers of a file, by name.

    Raises:
        sqlite3.Error: the schema cannot be read.
    """
    try:
        rows = connection.execute("SELECT name, sql FROM main.sqlite_master").fetchall()
    except UnicodeDecodeError as error:  # SQLite's message quotes the damaged schema
        raise sqlite3.DatabaseError("malformed database schema") from error
    return {name: " ".join(str(sql).split()) for name, sql in rows}


def create_tables(connection: sqlite3.Connection) -> None:
    """Create the tables in an empty file, within the caller's transaction."""
    for statement in TABLES[FORMAT].values():
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {FORMAT}")


def _connection(address: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        address,
        timeout=_PATIENCE,
        isolation_level=None,
        check_same_thread=False,
        uri=address.startswith("file:"),
    )
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


def _format_of(connection: sqlite3.Connection, path: Path) -> int:
    """Return the format of a store, 0 if it is empty.

    All is read in one transaction, since another process may be creating the file.
    """
    connection.execute("BEGIN")
    mark = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    tables = schema_of(connection)
    connection.execute("COMMIT")
    if tables and mark != _APPLICATION_ID:
        raise StoreFailed(f"{path} is a database but not a store of the workbench; {_ELSEWHERE}")
    if version > FORMAT:
        raise StoreFailed(f"{path} has format {version}, this workbench reads up to {FORMAT}; update it")
    if tables and (version not in TABLES or not TABLES[version].items() <= tables.items()):
        raise StoreFailed(f"the tables of {path} are not those of a store of format {version}; {RECOVER}")
    if any(statement.upper().startswith("CREATE TRIGGER") for statement in tables.values()):
        raise StoreFailed(f"{path} has triggers, which a store has not; drop them, or {_ELSEWHERE}")
    return version if tables else 0


def _in_turn(change: Callable[[], None]) -> None:
    """Create or upgrade a store, retrying while other processes do so: SQLite may fail at once instead of waiting."""
    stop = time.monotonic() + _PATIENCE
    while True:
        try:
            change()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > stop:
                raise
            time.sleep(0.01)
        else:
            return


def _make(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        if not schema_of(connection):  # no other process was faster
            create_tables(connection)


def _upgrade(connection: sqlite3.Connection) -> None:
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        if connection.execute("PRAGMA user_version").fetchone()[0] < FORMAT:
            _renew_memories(connection, "main")
            connection.execute(f"PRAGMA user_version = {FORMAT}")


def _renew_memories(connection: sqlite3.Connection, schema: str) -> None:
    """Copy identities, adding checksums; file digests are dropped, since format 1 did not identify files reliably."""
    rows = connection.execute("SELECT name, identity FROM main.identities").fetchall()
    for name in ("files", "identities", "origins"):
        if schema == "main" and name in TABLES[1]:
            connection.execute(f"DROP TABLE main.{name}")
        connection.execute(TABLES[FORMAT][name].replace("TABLE ", f"TABLE {schema}.", 1))
    connection.executemany(
        f"INSERT INTO {schema}.identities VALUES (?, ?, ?)", [(*row, checksum_of(*row)) for row in rows]
    )
