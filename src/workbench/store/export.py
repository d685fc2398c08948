"""Write the answers of chosen models as an answer pack (see `packs`)."""

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from workbench.atomic import make_folder, written_whole
from workbench.errors import BadInput, StoreFailed, UnknownName
from workbench.store import REPAIR, Store, canonical
from workbench.store.checking import damaged_rows
from workbench.store.contents import count_lost
from workbench.store.identities import public_identities
from workbench.store.keys import add_context, add_first, add_origins, checksum_of, digest_of
from workbench.store.packs import PackInfo, opened, summary
from workbench.store.schema import create_tables

Identities = Mapping[str, dict[str, Any]]


def export_pack(
    store: Store, path: Path, *, models: Sequence[str] = (), runs: Sequence[Path] = ()
) -> PackInfo:
    """Write the answers of the named models (name, hub id or digest) and of the models of runs; by default of all models.

    A name selects all weights it has ever stood for; the pack contains no folder names of this machine. Answers whose
    settings are lost belong to no known model: they are left out, and `PackInfo.left_out` counts them.

    Raises:
        UnknownName: the store has no answers of that model; the message lists the models it has.
        BadInput: a folder that is not a run.
        StoreFailed: a damaged entry, or the file could not be written.
    """
    weights = {context: str(json.loads(context).get("weights")) for context in store.contexts()}
    there = set(weights.values())
    identities = {name: about for name, about in store.identities().items() if about["weights"] in there}
    wanted = {digest for run in runs for digest in digests_of_run(run)}
    for name in models:
        wanted |= _digests_of(name, identities, there)
    chosen = [context for context, digest in weights.items() if digest in wanted or not (models or runs)]
    with store.transaction(write=False) as connection:
        lost = count_lost(connection)
    if not chosen:
        raise UnknownName(
            f"the store {store.path} has no such answers; it has those of: {_names(identities)}"
            + (f"; the settings of {lost} answers are lost, so their model is unknown" if lost else "")
        )
    used = {weights[context] for context in chosen}
    named = {name: about for name, about in identities.items() if about["weights"] in used}
    make_folder(path.parent)
    with written_whole(path) as aside:
        aside.unlink(missing_ok=True)
        try:
            _write(aside, store, chosen, public_identities(named))
        except sqlite3.Error as error:
            raise StoreFailed(
                f"could not write {path}: {error}; free some space or choose another folder"
            ) from error
        with opened(aside) as pack:
            damaged = next(damaged_rows(pack, strict=True), None)
            if damaged is not None:
                raise StoreFailed(f"the store {store.path} is damaged ({damaged}); {REPAIR}")
            return replace(summary(pack, path), left_out=lost)


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
    raise BadInput(f"{folder} is not a run: it has neither run.json nor evaluation.json")


def _digests_of(name: str, identities: Identities, digests: set[str]) -> set[str]:
    """Return all weights that a name or digest stands for: a name may have meant other weights before retraining."""
    found = {name} & digests
    for remembered, about in {**identities, **public_identities(identities)}.items():
        if name in (remembered, about["name"], about["hub_id"]):
            found.add(about["weights"])
    if not found:
        raise UnknownName(f"the store has no answers of {name!r}; it has those of: {_names(identities)}")
    return found


def _names(identities: Identities) -> str:
    names = dict.fromkeys(about["name"] for about in public_identities(identities).values())
    return ", ".join(names) or "no named model"


def _write(path: Path, store: Store, contexts: Iterable[str], named: Identities) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = OFF")  # an unfinished file is discarded
        connection.execute("BEGIN")
        create_tables(connection)
        for context in contexts:
            add_context(connection, digest_of(context), context)
        add_first(connection, store.rows("answers", contexts))
        add_origins(connection, store.rows("origins", contexts))
        connection.executemany(
            "INSERT INTO identities VALUES (?, ?, ?)",
            [(name, canonical(about), checksum_of(name, canonical(about))) for name, about in named.items()],
        )
        connection.execute("COMMIT")
