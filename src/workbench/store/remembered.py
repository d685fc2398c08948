"""Digests of files and identities of models, which the store remembers so that answers are found without reading weights."""

import os
import warnings
from pathlib import Path
from typing import Any

from workbench.store.handle import Handle
from workbench.store.identities import identity_in
from workbench.store.keys import canonical, checksum_of, plain

_NOTICED: set[Path] = set()


class Memory(Handle):
    """The digests of files, and what model names stood for when they were last resolved.

    All of it can be recomputed; a store that cannot be written remembers nothing new, and warns once. A damaged entry raises
    StoreFailed.
    """

    def file_digest(self, path: Path, stat: os.stat_result) -> str | None:
        """Return the remembered digest of a file with this size, these timestamps and this inode, else None."""
        name, stamp = plain(str(path)), _stamp(stat)
        with self.transaction(write=False) as connection:
            row = connection.execute(
                "SELECT digest, checksum FROM files WHERE path = ? AND stamp = ?", (name, stamp)
            ).fetchone()
        if row is None:
            return None
        if not isinstance(row[0], str) or row[1] != checksum_of(name, stamp, row[0]):
            raise self._damaged(f"the digest of the file {name}")
        return row[0]

    def remember_file(self, path: Path, stat: os.stat_result, digest: str) -> None:
        """Remember the digest of a file in the state given by `stat`, so that large files are hashed only once."""
        name, stamp = plain(str(path)), _stamp(stat)
        self._remember("files", (name, stamp, digest, checksum_of(name, stamp, digest)))

    def identity(self, name: str) -> dict[str, Any] | None:
        """Return what a model name stood for when it was last resolved, or None."""
        with self.transaction(write=False) as connection:
            row = connection.execute("SELECT * FROM identities WHERE name = ?", (plain(name),)).fetchone()
        return None if row is None else self._identity(*row)

    def remember_identity(self, name: str, identity: dict[str, Any]) -> None:
        """Remember what a model name stands for, so that its answers can be found without its weights."""
        name, text = plain(name), plain(canonical(identity))
        with self.transaction(write=False) as connection:
            known = connection.execute("SELECT identity FROM identities WHERE name = ?", (name,)).fetchone()
        if known != (text,):
            self._remember("identities", (name, text, checksum_of(name, text)))

    def identities(self) -> dict[str, dict[str, Any]]:
        """Return what every remembered name stood for when it was last resolved."""
        with self.transaction(write=False) as connection:
            rows = connection.execute("SELECT * FROM identities ORDER BY name").fetchall()
        found = {row[0]: self._identity(*row) for row in rows}
        return {name: about for name, about in found.items() if about is not None}

    def _identity(self, name: object, text: object, checksum: object) -> dict[str, Any] | None:
        try:
            return identity_in(name, text, checksum)
        except ValueError:
            raise self._damaged(f"what is remembered of the model {name!r}") from None

    def _remember(self, table: str, row: tuple[str | int, ...]) -> None:
        if not self.is_read_only:
            marks = ",".join("?" * len(row))
            with self.transaction(write=True) as connection:
                connection.execute(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", row)
        elif self.path not in _NOTICED:
            _NOTICED.add(self.path)
            warnings.warn(
                f"the store {self.path} is read-only here: its answers are used, but nothing new is remembered",
                stacklevel=2,
            )


def _stamp(stat: os.stat_result) -> str:
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}"
