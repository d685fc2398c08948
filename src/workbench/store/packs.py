"""Answer packs: the answers of selected models in one file, for users who have neither the weights nor the hardware.

A pack is a store file without a log and without local folder names. WORKBENCH_STORE may point to one directly, even where
it cannot be written. Before an import, its tables must be exactly those of a store (no triggers, views or generated
columns), its pages must pass SQLite's integrity check, and every row must be valid. The same answers give the same bytes.
Stores of other machines are imported in the same way.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.atomic import make_folder, written_whole
from workbench.errors import BadInput, StoreFailed, UnknownName
from workbench.store import Store, canonical
from workbench.store.checking import damaged_rows, expect_whole_database
from workbench.store.file import REPAIR, TABLES, connect_read_only, create_tables, message_of, schema_of
from workbench.store.forms import expect_context
from workbench.store.names import identity_in, public_identities
from workbench.store.rows import (
    Row,
    add_context,
    add_first,
    add_origins,
    add_others,
    checksum_of,
    digest_of,
    key_of,
)

_LONGEST = 1 << 28  # bytes of a field; the states of a text at all layers of the largest model are 4 MB
_ASK_AGAIN = "ask for it again, or export it again"


@dataclass(frozen=True)
class PackInfo:
    """The content of a pack: names of its models, number of answers, and the settings they were computed with."""

    path: Path
    models: tuple[str, ...]
    answers: int
    settings: tuple[str, ...]


@dataclass(frozen=True)
class Taken:
    """The result of an import: answers in the pack, new ones, and names kept because they mean other weights here."""

    answers: int
    new: int
    kept_names: tuple[str, ...]


def digests_of_run(folder: Path) -> list[str]:
    """Return the digests of the weights that a notebook run or an evaluation used.

    Raises:
        BadInput: the folder is neither.
    """
    for name, path in (("run.json", ("facts", "models")), ("evaluation.json", ("models",))):
        if (folder / name).is_file():
            facts = json.loads((folder / name).read_text(encoding="utf-8"))
            for step in path:
                facts = facts.get(step, {})
            return sorted({about["weights_digest"] for about in facts.values()})
    raise BadInput(f"{folder} is no run: it has neither run.json nor evaluation.json")


def export_pack(
    store: Store, path: Path, *, models: Sequence[str] = (), runs: Sequence[Path] = ()
) -> PackInfo:
    """Write the answers of the named models (name, hub id or digest) and of the models of runs; by default of all models.

    A name selects all weights it has ever stood for; the pack contains no folder names of this machine.

    Raises:
        UnknownName: the store has no answers of that model; the message lists the models it has.
        BadInput: a folder that is not a run.
        StoreFailed: a damaged entry, or the file could not be written.
    """
    contexts = [(context, json.loads(context)) for context in store.contexts()]
    there = {str(fields.get("weights")) for _, fields in contexts}
    identities = {name: about for name, about in store.identities().items() if about["weights"] in there}
    wanted = {digest for run in runs for digest in digests_of_run(run)}
    for name in models:
        wanted |= _digests_of(name, identities, there)
    chosen = [
        context for context, fields in contexts if fields.get("weights") in wanted or not (models or runs)
    ]
    known = {fields.get("weights") for context, fields in contexts if context in set(chosen)}
    if not chosen:
        raise UnknownName(
            f"the store {store.path} has no such answers; it has those of: {_names(identities) or 'no named model'}"
        )
    named = {name: about for name, about in identities.items() if about["weights"] in known}
    make_folder(path.parent)
    with written_whole(path) as aside:
        aside.unlink(missing_ok=True)
        try:
            _write(aside, store, chosen, public_identities(named))
        except sqlite3.Error as error:
            raise StoreFailed(
                f"could not write {path}: {error}; free some space or choose another folder"
            ) from error
        with _opened(aside) as pack:
            damaged = next(damaged_rows(pack, strict=True), None)
        if damaged is not None:
            raise StoreFailed(f"the store {store.path} is damaged ({damaged}); {REPAIR}")
    return check_pack(path)


def import_pack(store: Store, path: Path) -> Taken:
    """Import the answers of a pack or of another store in one transaction; existing answers are kept.

    A name that already means other weights here keeps its meaning. Other processes cannot write while answers are copied.

    Raises:
        BadInput: not a pack, a damaged one, or one of a newer format; nothing is imported.
        StoreFailed: this store could not be written; nothing is imported.
    """
    with _opened(path) as pack:
        _expect_whole(pack, path)
        named = public_identities(_identities(pack))
        kept = [name for name, about in named.items() if _means_other(store.identity(name), about)]
        with store.transaction(write=True) as connection:
            for (context,) in pack.execute("SELECT context FROM contexts"):
                add_context(connection, digest_of(context), context)
            count = pack.execute("SELECT count(*) FROM answers").fetchone()[0]
            new = add_first(connection, (row for row in _answers(pack) if row[0] == key_of(*row[1:3])))
            if new < count:
                new += add_others(connection, _answers(pack))
            add_origins(connection, pack.execute("SELECT * FROM origins"))
        for name, about in named.items():
            if name not in kept:
                store.remember_identity(name, about)
    return Taken(count, new, tuple(kept))


def check_pack(path: Path) -> PackInfo:
    """Read and check a whole pack and return a summary of its content.

    Raises:
        BadInput: as `import_pack`.
    """
    with _opened(path) as pack:
        _expect_whole(pack, path)
        named = public_identities(_identities(pack))
        contexts = [row[0] for row in pack.execute("SELECT context FROM contexts ORDER BY digest")]
        answers = pack.execute("SELECT count(*) FROM answers").fetchone()[0]
    return PackInfo(path, tuple(named), answers, tuple(_setting(context, named) for context in contexts))


def _setting(context: str, named: dict[str, dict[str, Any]]) -> str:
    fields = expect_context(context)
    names = [name for name, about in named.items() if about["weights"] == fields["weights"]]
    model = names[0] if names else fields["weights"][:12]
    rest = [
        f"{key}={canonical(value)}"
        for key, value in fields.items()
        if key not in ("kind", "weights", "tokenizer", "dtype")
    ]
    return f"{fields['kind']} {model} {fields['dtype']}: {' '.join(rest)}"


def _digests_of(name: str, identities: dict[str, dict[str, Any]], digests: set[str]) -> set[str]:
    """Return all weights that a name or digest stands for: a name may have meant other weights before retraining."""
    found = {name} & digests
    for remembered, about in {**identities, **public_identities(identities)}.items():
        if name in (remembered, about["name"], about["hub_id"]):
            found.add(about["weights"])
    if not found:
        raise UnknownName(
            f"the store has no answers of {name!r}; it has those of: {_names(identities) or 'no named model'}"
        )
    return found


def _names(identities: dict[str, dict[str, Any]]) -> str:
    return ", ".join(dict.fromkeys(about["name"] for about in public_identities(identities).values()))


def _means_other(here: dict[str, Any] | None, there: dict[str, Any]) -> bool:
    return here is not None and here["weights"] != there["weights"]


def _write(path: Path, store: Store, contexts: Sequence[str], named: dict[str, dict[str, Any]]) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = OFF")  # an unfinished file is discarded
        connection.execute("BEGIN")
        create_tables(connection)
        for context in contexts:
            add_context(connection, digest_of(context), context)
        add_first(connection, store.rows(contexts))
        add_origins(connection, store.origins(contexts))
        connection.executemany(
            "INSERT INTO identities VALUES (?, ?, ?)",
            [(name, canonical(about), checksum_of(name, canonical(about))) for name, about in named.items()],
        )
        connection.execute("COMMIT")
    finally:
        connection.close()


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a pack's file read-only in one transaction; any error of SQLite is reported as an error of the pack.

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
        if connection is not None:  # the error is that of the importing store
            raise
        raise BadInput(f"{path} is no answer pack: {error}") from error
    except sqlite3.Error as error:
        raise BadInput(
            f"{path} is no whole answer pack ({message_of(error)}); {_ASK_AGAIN} (before version 0.2 packs were zip files)"
        ) from error
    finally:
        if connection is not None:
            connection.close()


def _expect_whole(pack: sqlite3.Connection, path: Path) -> None:
    version = pack.execute("PRAGMA main.user_version").fetchone()[0]
    if schema_of(pack) != TABLES[version]:
        raise BadInput(f"{path} has other tables than an answer pack, or more; {_ASK_AGAIN}")
    try:
        expect_whole_database(pack)
    except ValueError as error:
        raise BadInput(f"{path} is no whole answer pack ({message_of(error)}); {_ASK_AGAIN}") from error
    damaged = next(damaged_rows(pack, strict=True), None)
    if damaged is not None:
        raise BadInput(f"{path} is damaged ({damaged}); {_ASK_AGAIN}")


def _answers(pack: sqlite3.Connection) -> Iterable[Row]:
    return pack.execute("SELECT * FROM answers ORDER BY key")


def _identities(pack: sqlite3.Connection) -> dict[str, dict[str, Any]]:
    rows = pack.execute("SELECT * FROM identities ORDER BY name").fetchall()
    found = {name: identity_in(name, text, checksum) for name, text, checksum in rows}
    return {name: about for name, about in found.items() if about is not None}
