"""Check every row of a store or a pack for damage and for values that no model can have produced.

A row is damaged if its key or checksum does not match its content, or if its content is impossible. An answer whose
context is lost is not damaged: a call with the same settings still finds it.
"""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field

from workbench.errors import StoreFailed
from workbench.store import Store, arrays, validation
from workbench.store.advice import message_of, remedy
from workbench.store.file import connect_read_only
from workbench.store.identities import identity_in
from workbench.store.keys import checksum_of, digest_of, is_intact, key_of, origin, value_of

ANSWERS = {
    "generate": validation.generated,
    "score": validation.scores,
    "states": arrays.states,
    "lens": validation.lens,
    "alternatives": validation.alternatives,
}  # raise ValueError
_KEYS = {  # contexts first: the check of an answer needs their kind
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
        is_digest = self.table in ("contexts", "answers")
        key = self.key.hex() if is_digest else ascii(self.key.decode(errors="replace"))
        return f"{self.table} {key}: {self.reason}"


def check_store(store: Store, *, repair: bool = False) -> list[Damage]:
    """Read every row of a store and return the damaged ones; `repair` deletes them, so that they are recomputed.

    Raises:
        StoreFailed: the database file itself is damaged, or cannot be read or, for a repair, written.
    """
    store.open()
    try:
        connection, _ = connect_read_only(store.path)
        try:
            expect_whole_database(connection)
            found = list(damaged_rows(connection))
        finally:
            connection.close()
    except (sqlite3.Error, ValueError) as error:
        raise StoreFailed(
            f"the store {store.path} is damaged as a database: {message_of(error)}; {remedy(error)}"
        ) from error
    if repair and found:
        with store.transaction(write=True) as connection:
            for damage in found:
                _delete(connection, damage)
    return found


def _delete(connection: sqlite3.Connection, damage: Damage) -> None:
    table, key = damage.table, _KEYS[damage.table]
    if connection.execute(f"DELETE FROM {table} WHERE {key} = ?", (damage.key,)).rowcount == 0:
        # text, or a key of the wrong type, which the index does not find
        connection.execute(f"DELETE FROM {table} WHERE CAST({key} AS BLOB) = ?", (damage.key,))


def expect_whole_database(connection: sqlite3.Connection) -> None:
    """Check the integrity of a database file's pages.

    Raises:
        ValueError: the file is damaged; the message quotes SQLite's finding.
    """
    connection.text_factory = lambda raw: raw.decode(errors="replace")
    whole = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if whole != "ok":
        raise ValueError(whole)


def damaged_rows(connection: sqlite3.Connection, *, strict: bool = False) -> Iterator[Damage]:
    """Read all tables row by row and yield the damaged rows.

    Args:
        strict: also report identities without the current fields, and answers or origins whose context is missing.
    """
    connection.text_factory = lambda raw: raw.decode(errors="replace")  # the checksum then fails
    checks = _Checks(strict)
    for table, key in _KEYS.items():
        for raw, *row in connection.execute(f"SELECT CAST({key} AS BLOB), * FROM {table}"):
            try:
                getattr(checks, table)(*row)
            except ValueError as error:
                yield Damage(table, raw, str(error))


@dataclass(frozen=True)
class _Checks:
    """One method per table, which checks a row of it; all raise ValueError with the reason."""

    strict: bool
    kinds: dict[object, str] = field(default_factory=dict)  # of valid contexts, by digest

    def contexts(self, digest: object, context: object) -> None:
        _expect(isinstance(context, str) and digest == digest_of(context), "its digest does not match")
        self.kinds[digest] = validation.expect_context(context)["kind"]

    def answers(
        self, key: object, context: object, question: object, answer: object, checksum: object, *made: object
    ) -> None:
        _expect(is_intact(context, question, answer, checksum, *made), "its checksum does not match")
        assert isinstance(context, bytes)
        assert isinstance(question, str)
        assert isinstance(answer, str | bytes)
        keys = (
            (key_of(context, question), key_of(context, question, str(made[0]))) if len(context) <= 64 else ()
        )
        _expect(key in keys, "its key does not match")
        validation.expect_origin(*made)
        self._expect_settings(context)
        if context in self.kinds:
            ANSWERS[self.kinds[context]](value_of(answer))

    def identities(self, name: object, text: object, checksum: object) -> None:
        known = identity_in(name, text, checksum) is not None
        _expect(known or not self.strict, "its fields are not those of a model")

    def files(self, *row: object) -> None:
        *fields, checksum = row
        texts = [one for one in fields if isinstance(one, str)]
        _expect(texts == fields and checksum == checksum_of(*texts), "its checksum does not match")

    def origins(self, context: object, libraries: object, first: object, checksum: object) -> None:
        if not isinstance(context, bytes) or not isinstance(libraries, str) or not isinstance(first, float):
            raise ValueError("its fields are not those of an origin")
        _expect(checksum == origin(context, libraries, first)[-1], "its checksum does not match")
        self._expect_settings(context)

    def _expect_settings(self, context: bytes) -> None:
        _expect(not self.strict or context in self.kinds, "its settings are missing")


def _expect(holds: bool, reason: str) -> None:
    if not holds:
        raise ValueError(reason)
