"""The tables of a store's file: how they are created, recognised and upgraded from format 1.

The table of answers is unchanged since format 1, so the cost of the upgrade does not grow with their number.
"""

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from workbench.errors import StoreFailed
from workbench.store.advice import ELSEWHERE, PATIENCE, RECOVER
from workbench.store.keys import checksum_of

FORMAT = 2
_APPLICATION_ID = 0x776B6273  # "wkbs": distinguishes our files from other SQLite files
_UNCHANGED = {
    "contexts": "CREATE TABLE contexts (digest BLOB PRIMARY KEY, context TEXT NOT NULL) WITHOUT ROWID",
    "answers": "CREATE TABLE answers ( key BLOB PRIMARY KEY, context BLOB NOT NULL, question TEXT NOT NULL, answer NOT NULL, "
    "checksum INTEGER NOT NULL, device TEXT NOT NULL, batch_size INTEGER NOT NULL, made REAL NOT NULL) WITHOUT ROWID",
}
TABLES = {
    1: _UNCHANGED
    | {
        "files": "CREATE TABLE files (path TEXT PRIMARY KEY, size INTEGER, changed INTEGER, digest TEXT) WITHOUT ROWID",
        "identities": "CREATE TABLE identities (name TEXT PRIMARY KEY, identity TEXT NOT NULL) WITHOUT ROWID",
    },
    FORMAT: _UNCHANGED
    | {
        "files": "CREATE TABLE files (path TEXT PRIMARY KEY, stamp TEXT NOT NULL, digest TEXT NOT NULL, "
        "checksum INTEGER NOT NULL) WITHOUT ROWID",
        "identities": "CREATE TABLE identities (name TEXT PRIMARY KEY, identity TEXT NOT NULL, "
        "checksum INTEGER NOT NULL) WITHOUT ROWID",
        "origins": "CREATE TABLE origins (context BLOB NOT NULL, libraries TEXT NOT NULL, first REAL NOT NULL, "
        "checksum INTEGER NOT NULL, PRIMARY KEY (context, libraries)) WITHOUT ROWID",
    },
}


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


def format_of(connection: sqlite3.Connection, path: Path) -> int:
    """Return the format of a store, 0 if it is empty.

    All is read in one transaction, since another process may be creating the file.

    Raises:
        StoreFailed: it is not a store, or has a later format or triggers.
    """
    connection.execute("BEGIN")
    mark = connection.execute("PRAGMA application_id").fetchone()[0]
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    tables = schema_of(connection)
    connection.execute("COMMIT")
    if tables and mark != _APPLICATION_ID:
        raise StoreFailed(f"{path} is a database but not a store of the workbench; {ELSEWHERE}")
    if version > FORMAT:
        raise StoreFailed(
            f"{path} has format {version}, and this version of workbench reads up to {FORMAT}; update workbench"
        )
    if tables and (version not in TABLES or not TABLES[version].items() <= tables.items()):
        raise StoreFailed(f"the tables of {path} are not those of a store of format {version}; {RECOVER}")
    if any(statement.upper().startswith("CREATE TRIGGER") for statement in tables.values()):
        raise StoreFailed(f"{path} has triggers, which a store never has; drop them, or {ELSEWHERE}")
    return version if tables else 0


def bring_up_to_date(connection: sqlite3.Connection, version: int) -> None:
    """Create the tables in an empty file, or upgrade a file of format 1, in one transaction.

    Retries while other processes do the same, since SQLite may fail at once instead of waiting for them.
    """
    stop = time.monotonic() + PATIENCE
    change: Callable[[sqlite3.Connection], None] = _create if version == 0 else _upgrade
    while True:
        try:
            change(connection)
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > stop:
                raise
            time.sleep(0.01)
        else:
            return


def _create(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        if not schema_of(connection):  # no other process was faster
            create_tables(connection)


def _upgrade(connection: sqlite3.Connection) -> None:
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        if connection.execute("PRAGMA user_version").fetchone()[0] < FORMAT:
            renew_memory(connection, "main")
            connection.execute(f"PRAGMA user_version = {FORMAT}")


def renew_memory(connection: sqlite3.Connection, schema: str) -> None:
    """Copy the identities of a file of format 1 into `schema`, adding checksums.

    In "temp", the new tables hide those of the same name in the file. File digests are dropped, since format 1 did not
    identify files reliably.
    """
    rows = connection.execute("SELECT name, identity FROM main.identities").fetchall()
    for name in ("files", "identities", "origins"):
        if schema == "main" and name in TABLES[1]:
            connection.execute(f"DROP TABLE main.{name}")
        connection.execute(TABLES[FORMAT][name].replace("TABLE ", f"TABLE {schema}.", 1))
    connection.executemany(
        f"INSERT INTO {schema}.identities VALUES (?, ?, ?)", [(*row, checksum_of(*row)) for row in rows]
    )
