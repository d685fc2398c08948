"""Answer packs: the answers of selected models in one file, for users who have neither the weights nor the hardware.

A pack is a store file without a log and without local folder names. WORKBENCH_STORE may point to one directly, even where
it cannot be written. Before an import, its tables must be exactly those of a store (no triggers, views or generated
columns), its pages must pass SQLite's integrity check, and every row must be valid. The same answers give the same bytes
(`export` writes them). Stores of other machines are imported in the same way.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.errors import BadInput, StoreFailed
from workbench.store import Store, canonical
from workbench.store.advice import message_of
from workbench.store.checking import damaged_rows, expect_whole_database
from workbench.store.file import connect_read_only
from workbench.store.identities import identity_in, public_identities
from workbench.store.keys import add_context, add_first, add_origins, add_others, digest_of, key_of
from workbench.store.schema import TABLES, schema_of
from workbench.store.validation import expect_context

_LONGEST = 1 << 28  # bytes of a field; the states of a text at all layers of the largest model are 4 MB
_ASK_AGAIN = "obtain it again, or export it again"
_ANSWERS = "SELECT * FROM answers ORDER BY key"


@dataclass(frozen=True)
class PackInfo:
    """The content of a pack: names of its models, number of answers, and the settings they were computed with.

    `left_out` counts the answers that an export could not include, since their settings are lost.
    """

    path: Path
    models: tuple[str, ...]
    answers: int
    settings: tuple[str, ...]
    left_out: int = 0


@dataclass(frozen=True)
class ImportResult:
    """The result of an import: answers in the pack, new ones among them, and names kept since they mean other weights here."""

    answers: int
    new: int
    kept_names: tuple[str, ...]


def import_pack(store: Store, path: Path) -> ImportResult:
    """Import the answers of a pack or of another store in one transaction; existing answers are kept.

    A name that already means other weights here keeps its meaning. Other processes cannot write while answers are copied.

    Raises:
        BadInput: not a pack, a damaged one, or one of a newer format; nothing is imported.
        StoreFailed: this store could not be written; nothing is imported.
    """
    with opened(path) as pack:
        _expect_whole(pack, path)
        named = _names_in(pack)
        kept = [name for name, about in named.items() if _means_other(store.identity(name), about)]
        with store.transaction(write=True) as connection:
            for (context,) in pack.execute("SELECT context FROM contexts"):
                add_context(connection, digest_of(context), context)
            count = pack.execute("SELECT count(*) FROM answers").fetchone()[0]
            new = add_first(
                connection, (row for row in pack.execute(_ANSWERS) if row[0] == key_of(*row[1:3]))
            )
            if new < count:
                new += add_others(connection, pack.execute(_ANSWERS))
            add_origins(connection, pack.execute("SELECT * FROM origins"))
        for name, about in named.items():
            if name not in kept:
                store.remember_identity(name, about)
    return ImportResult(count, new, tuple(kept))


def check_pack(path: Path) -> PackInfo:
    """Read and check a whole pack and return a summary of its content.

    Raises:
        BadInput: as `import_pack`.
    """
    with opened(path) as pack:
        _expect_whole(pack, path)
        return summary(pack, path)


def summary(pack: sqlite3.Connection, path: Path) -> PackInfo:
    """Return a summary of an open pack whose rows are valid."""
    named = _names_in(pack)
    contexts = [row[0] for row in pack.execute("SELECT context FROM contexts ORDER BY digest")]
    answers = pack.execute("SELECT count(*) FROM answers").fetchone()[0]
    return PackInfo(path, tuple(named), answers, tuple(_setting(context, named) for context in contexts))


def _setting(context: str, named: dict[str, dict[str, Any]]) -> str:
    fields = expect_context(context)
    weights = fields["weights"]
    model = next((name for name, about in named.items() if about["weights"] == weights), weights[:12])
    rest = fields.keys() - {"kind", "weights", "tokenizer", "dtype"}
    shown = " ".join(f"{key}={canonical(value)}" for key, value in fields.items() if key in rest)
    return f"{fields['kind']} {model} {fields['dtype']}: {shown}"


def _means_other(here: dict[str, Any] | None, there: dict[str, Any]) -> bool:
    return here is not None and here["weights"] != there["weights"]


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a pack's file read-only in one transaction; any error from SQLite is reported as an error of the pack.

    Raises:
        BadInput: the file does not exist or is not a pack.
    """
    if not path.is_file():
        raise BadInput(f"no pack at {path}; `workbench store export FILE` writes one")
    connection = None
    try:
        connection, _ = connect_read_only(path)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST)
        connection.execute("BEGIN")
        yield connection
    except StoreFailed as error:
        if connection is not None:  # the error came from the importing store
            raise
        raise BadInput(f"{path} is not an answer pack: {error}") from error
    except sqlite3.Error as error:
        raise BadInput(
            f"{path} is not a complete answer pack ({message_of(error)}); {_ASK_AGAIN} (before version 0.2 packs were zip files)"
        ) from error
    finally:
        if connection is not None:
            connection.close()


def _expect_whole(pack: sqlite3.Connection, path: Path) -> None:
    version = pack.execute("PRAGMA main.user_version").fetchone()[0]
    if schema_of(pack) != TABLES[version]:
        raise BadInput(f"{path} does not have exactly the tables of an answer pack; {_ASK_AGAIN}")
    try:
        expect_whole_database(pack)
    except ValueError as error:
        raise BadInput(f"{path} is not a complete answer pack ({message_of(error)}); {_ASK_AGAIN}") from error
    damaged = next(damaged_rows(pack, strict=True), None)
    if damaged is not None:
        raise BadInput(f"{path} is damaged ({damaged}); {_ASK_AGAIN}")


def _names_in(pack: sqlite3.Connection) -> dict[str, dict[str, Any]]:
    rows = pack.execute("SELECT * FROM identities ORDER BY name").fetchall()
    found = {name: identity_in(name, text, checksum) for name, text, checksum in rows}
    return public_identities({name: about for name, about in found.items() if about is not None})
