"""Check every row of a store or a pack for damage and for values that no model can have produced.

A row is damaged if its key or checksum does not match its content, or if its content is impossible. An answer whose
context is lost is not damaged: a call with the same settings still finds it.
"""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

from workbench.errors import StoreFailed
from workbench.store import Store
from workbench.store.file import RECOVER, connect_read_only, message_of, remedy
from workbench.store.forms import ANSWERS, expect_context, expect_origin
from workbench.store.names import identity_in
from workbench.store.rows import checksum_of, digest_of, is_sealed, key_of, origin, value_of

_KEYS = {
    "contexts": "digest",
    "answers": "key",
    "identities": "name",
    "files": "path",
    "origins": "hex(context) || ' ' || libraries",
}


@dataclass(frozen=True)
class Damage:
    """A damaged row: its table, its key as bytes, and the reason."""

    table: str
    key: bytes
    reason: str

    def __str__(self) -> str:
        """Return one line that is safe to print on a terminal."""
        key = (
            self.key.hex()
            if self.table in ("contexts", "answers")
            else ascii(self.key.decode(errors="replace"))
        )
        return f"{self.table} {key}: {self.reason}"


def check_store(store: Store, *, repair: bool = False) -> list[Damage]:
    """Read every row of a store and return the damaged ones; `repair` deletes them, so that they are recomputed.

    Raises:
        StoreFailed: the database file itself is damaged, or cannot be read or, for a repair, written.
    """
    with store.transaction(write=False):
        pass  # creates or upgrades the file if necessary
    try:
        connection, _ = connect_read_only(store.path)
        try:
            expect_whole_database(connection)
            found = list(damaged_rows(connection))
        finally:
            connection.close()
    except (sqlite3.Error, ValueError) as error:
        advice = remedy(error) if isinstance(error, sqlite3.Error) else RECOVER
        raise StoreFailed(
            f"the store {store.path} is damaged as a database: {message_of(error)}; {advice}"
        ) from error
    if repair and found:
        with store.transaction(write=True) as connection:
            for damage in found:
                table, key = damage.table, _KEYS[damage.table]
                if connection.execute(f"DELETE FROM {table} WHERE {key} = ?", (damage.key,)).rowcount == 0:
                    # text, or a key of the wrong type, which the index does not find
                    connection.execute(f"DELETE FROM {table} WHERE CAST({key} AS BLOB) = ?", (damage.key,))
    return found


def expect_whole_database(connection: sqlite3.Connection) -> None:
    """Check the integrity of a database file's pages.

    Raises:
        ValueError: the file is damaged; the message holds SQLite's finding.
    """
    connection.text_factory = lambda raw: raw.decode(errors="replace")
    whole = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if whole != "ok":
        raise ValueError(whole.replace("\n", " "))


def damaged_rows(connection: sqlite3.Connection, *, strict: bool = False) -> Iterator[Damage]:
    """Read all tables row by row and yield the damaged rows.

    Args:
        strict: also report identities without the current fields, and answers or origins whose context is missing.
    """
    connection.text_factory = lambda raw: raw.decode(errors="replace")  # the checksum then fails
    kinds: dict[bytes, str] = {}
    for key, digest, context in connection.execute(
        "SELECT CAST(digest AS BLOB), digest, context FROM contexts"
    ):
        reason = _wrong_context(digest, context)
        if reason is None:
            kinds[key] = expect_context(context)["kind"]
        else:
            yield Damage("contexts", key, reason)
    for key, *row in connection.execute("SELECT CAST(key AS BLOB), * FROM answers"):
        reason = _wrong_answer(kinds, strict, *row)
        if reason is not None:
            yield Damage("answers", key, reason)
    for key, name, text, checksum in connection.execute("SELECT CAST(name AS BLOB), * FROM identities"):
        reason = _wrong_identity(name, text, checksum, strict)
        if reason is not None:
            yield Damage("identities", key, reason)
    for key, *fields, checksum in connection.execute("SELECT CAST(path AS BLOB), * FROM files"):
        if not all(isinstance(field, str) for field in fields) or checksum != checksum_of(*fields):
            yield Damage("files", key, "its checksum does not fit")
    for key, *row in connection.execute(f"SELECT CAST({_KEYS['origins']} AS BLOB), * FROM origins"):
        reason = _wrong_libraries(kinds, strict, *row)
        if reason is not None:
            yield Damage("origins", key, reason)


def _wrong_context(digest: object, context: object) -> str | None:
    if not isinstance(context, str) or digest != digest_of(context):
        return "its digest does not fit"
    try:
        expect_context(context)
    except ValueError as error:
        return str(error)
    return None


def _wrong_answer(
    kinds: dict[bytes, str], strict: bool, key: object, context: object, question: object, answer: object, checksum: object,
    *origin: object,
) -> str | None:  # fmt: skip
    if not is_sealed(context, question, answer, checksum, *origin):
        return "its checksum does not fit"
    assert isinstance(context, bytes)
    assert isinstance(question, str)
    assert isinstance(answer, str | bytes)
    device = origin[0]
    if len(context) > 64 or key not in (key_of(context, question), key_of(context, question, str(device))):
        return "its key does not fit"
    try:
        expect_origin(*origin)
        if context in kinds:
            ANSWERS[kinds[context]](value_of(answer))
        elif strict:
            return "its settings are not there"
    except ValueError as error:
        return str(error)
    return None


def _wrong_libraries(
    kinds: dict[bytes, str], strict: bool, context: object, libraries: object, first: object, checksum: object
) -> str | None:
    if not isinstance(context, bytes) or not isinstance(libraries, str) or not isinstance(first, float):
        return "its fields are not those of an origin"
    if checksum != origin(context, libraries, first)[-1]:
        return "its checksum does not fit"
    return "its settings are not there" if strict and context not in kinds else None


def _wrong_identity(name: object, text: object, checksum: object, strict: bool) -> str | None:
    try:
        about = identity_in(name, text, checksum)
    except ValueError as error:
        return str(error)
    return "its fields are not those of a model" if strict and about is None else None
