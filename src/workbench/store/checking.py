"""Every row of a store or a pack, read for damage and for what no model can have answered.

A row is damaged if its key or checksum does not fit what it says, or if what it says is impossible. Answers whose settings
are lost are none: whoever asks with those settings finds them, and they are whole.
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
    """A damaged row: its table, its key as bytes, and what is wrong with it."""

    table: str
    key: bytes
    reason: str

    def __str__(self) -> str:
        """One line, which a terminal may print."""
        key = (
            self.key.hex()
            if self.table in ("contexts", "answers")
            else ascii(self.key.decode(errors="replace"))
        )
        return f"{self.table} {key}: {self.reason}"


def check_store(store: Store, *, repair: bool = False) -> list[Damage]:
    """Read every row of a store and list the damaged ones; `repair` removes those, to be computed again.

    Raises:
        StoreFailed: the file is damaged as a database, or cannot be read or, for a repair, written.
    """
    with store.transaction(write=False):
        pass  # made or upgraded, if need be
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
                    # text, or a key of a wrong type, which no index finds
                    connection.execute(f"DELETE FROM {table} WHERE CAST({key} AS BLOB) = ?", (damage.key,))
    return found


def expect_whole_database(connection: sqlite3.Connection) -> None:
    """Check the pages of a file: each used once, and well formed.

    Raises:
        ValueError: says what is wrong.
    """
    connection.text_factory = lambda raw: raw.decode(errors="replace")
    whole = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if whole != "ok":
        raise ValueError(whole.replace("\n", " "))


def damaged_rows(connection: sqlite3.Connection, *, strict: bool = False) -> Iterator[Damage]:
    """Read all tables, row by row.

    Args:
        strict: what is remembered of a model must have today's fields, and the settings of each answer must be there.
    """
    connection.text_factory = lambda raw: raw.decode(errors="replace")  # then the checksum does not fit
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
