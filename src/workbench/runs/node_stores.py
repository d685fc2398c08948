"""Answers of machines that share a disk: each has a store on its own disk, and hands packs over in a folder of the sweep.

Neither locks nor the shared memory of SQLite's log work over NFS; a pack is one file, written aside and renamed.
"""

import os
import socket
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from workbench.atomic import make_folder
from workbench.errors import UnknownName
from workbench.store import Store
from workbench.store.export import export_pack
from workbench.store.packs import import_pack

FOR_ALL = "all"  # packs whose name begins so are for every bundle


def lend(folder: Path, bundle: str, models: Iterable[str]) -> None:
    """Write what the default store has of these models where a bundle finds it."""
    make_folder(folder)
    for number, model in enumerate(models):
        _export(folder / f"{bundle}-lent-{number}.sqlite", [model])


def hand_over(folder: Path, bundle: str) -> None:
    """Write all answers of this machine's store as one pack, in place of the one before."""
    make_folder(folder)
    _export(folder / f"{bundle}-{socket.gethostname()}-{os.getpid()}.sqlite", [])


def merge(folder: Path) -> None:
    """Import all packs of a sweep into the default store, and delete them.

    Raises:
        BadInput: a pack is damaged; it is kept.
    """
    store = Store()
    for pack in sorted(folder.glob("*.sqlite")):
        import_pack(store, pack)
        pack.unlink()
    with suppress(OSError):
        folder.rmdir()


def packs_for(folder: Path, bundle: str) -> list[Path]:
    """Return the packs of a bundle, and those for all."""
    return [pack for pack in sorted(folder.glob("*.sqlite")) if pack.name.startswith((bundle, FOR_ALL))]


@contextmanager
def own_store(packs: Iterable[Path] = ()) -> Iterator[None]:
    """Make a store on this machine's disk the default one; it begins with these packs."""
    place = tempfile.TemporaryDirectory(prefix="workbench-", ignore_cleanup_errors=True)
    with place as folder, store_at(Path(folder) / "store.sqlite") as store:
        for pack in packs:
            import_pack(store, pack)
        yield


@contextmanager
def store_at(path: Path) -> Iterator[Store]:
    """Make the store in a file the default one."""
    before = os.environ.get("WORKBENCH_STORE")
    os.environ["WORKBENCH_STORE"] = str(path)
    store = Store()
    try:
        yield store
    finally:
        store.close()
        os.environ.pop("WORKBENCH_STORE")
        os.environ.update({} if before is None else {"WORKBENCH_STORE": before})


def _export(path: Path, models: list[str]) -> None:
    with suppress(UnknownName):  # no answers of that kind
        export_pack(Store(), path, models=models)
