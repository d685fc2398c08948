"""The store of answers: one value per question, context and device family."""

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from workbench.store.contents import Algorithms, count_answers, remove_superseded
from workbench.store.file import log_of
from workbench.store.keys import (
    Row,
    add_context,
    add_first,
    add_origins,
    add_others,
    answer_checksum,
    canonical,
    digest_of,
    is_intact,
    key_of,
    origin,
    value_of,
)
from workbench.store.remembered import Memory

_KEYS_PER_QUERY = 500


@dataclass(frozen=True)
class Answer:
    """A stored value (JSON value or .npy bytes) and the device family that computed it ("cpu", "cuda")."""

    value: Any
    device: str


class Store(Memory):
    """The answers in one file: created on first use, safe to share between threads and processes of one machine.

    Every method that reads or writes raises StoreFailed if the file cannot be read or written, or if an entry is damaged.
    """

    def get(
        self, context: str, questions: Sequence[str], *, device: str | None = None
    ) -> list[Answer | None]:
        """Look up one answer per question; None where there is none yet.

        A damaged answer raises an error and is never silently recomputed. If the key itself is damaged, no question leads to
        the row: the answer counts as missing and is computed again, and `workbench store check --repair` removes the row.
        Whether a value is possible is checked by the caller, who knows its kind (see `forms`).

        Args:
            device: accept only answers computed by this device family; by default, the first answer from any device.
        """
        shared = digest_of(context)
        asked = {key_of(shared, question): question for question in questions}
        if device is not None:
            asked |= {key_of(shared, question, device): question for question in questions}
        found = {
            asked[key]: answer
            for key, answer in self._find(shared, asked).items()
            if device in (None, answer.device)
        }
        return [found.get(question) for question in questions]

    def put(
        self,
        context: str,
        pairs: Sequence[tuple[str, Any]],
        *,
        device: str,
        batch_size: int = 1,
        libraries: str | None = None,
    ) -> None:
        """Commit a batch of (question, value) pairs in one transaction; existing answers of this device family are kept.

        Args:
            libraries: the library versions used, "torch 2.13.0, …"; recorded with the context, not part of the key.

        Raises:
            StoreFailed: the disk is full, or the store read-only or damaged; nothing of the batch is stored.
        """
        shared, made = digest_of(context), time.time()
        rows: list[Row] = []
        for question, value in pairs:
            answer = value if isinstance(value, bytes) else canonical(value)
            sealed = answer_checksum(shared, question, answer, device, batch_size, made)
            rows.append(
                (key_of(shared, question), shared, question, answer, sealed, device, batch_size, made)
            )
        with self.transaction(write=True) as connection:
            add_context(connection, shared, context)
            if libraries is not None:
                add_origins(connection, [origin(shared, libraries, made)])
            if add_first(connection, rows) < len(rows):
                add_others(connection, rows)

    def contexts(self) -> list[str]:
        """Return all contexts, in a fixed order."""
        with self.transaction(write=False) as connection:
            rows = connection.execute("SELECT digest, context FROM contexts ORDER BY digest").fetchall()
        for digest, context in rows:
            if not isinstance(context, str) or digest != digest_of(context):
                raise self._damaged(f"the settings {_shown(digest)}")
        return [context for _, context in rows]

    def entries(self, context: str) -> list[tuple[str, Any, str, int]]:
        """Return every (question, value, device, batch size) of a context, ordered by key."""
        return [
            (question, self._value(digest, key, question, answer, *sealed), sealed[1], sealed[2])
            for key, digest, question, answer, *sealed in self.rows("answers", [context])
        ]

    def rows(
        self, table: Literal["answers", "origins"], contexts: Iterable[str]
    ) -> Iterator[tuple[Any, ...]]:
        """Yield the raw rows of a table that belong to these contexts, ordered by key."""
        wanted = json.dumps([digest_of(context).hex().upper() for context in contexts])
        query = f"SELECT * FROM {table} WHERE hex(context) IN (SELECT value FROM json_each(?)) ORDER BY 1, 2"
        with self.transaction(write=False) as connection:
            yield from connection.execute(query, (wanted,))

    def info(self, algorithms: Algorithms | None = None) -> dict[str, Any]:
        """Return the number of answers by kind and model, and the size in bytes; works on a partly damaged store.

        `libraries` lists the sets of library versions of each model whose answers were computed with more than one.

        Args:
            algorithms: current algorithm versions by engine and kind; answers of other versions, which are kept but never used,
                are counted separately as `superseded`.
        """
        with self.transaction(write=False) as connection:
            counts = count_answers(connection, algorithms or {})
        size = sum(path.stat().st_size for path in (self.path, log_of(self.path)) if path.exists())
        return {"path": str(self.path), "bytes": size, **counts}

    def prune(self, algorithms: Algorithms) -> int:
        """Remove the answers of superseded algorithms, free their disk space, and return their number."""
        with self.transaction(write=True) as connection:
            removed = remove_superseded(connection, algorithms)
        self._file.vacuum()
        return removed

    def _find(self, context: bytes, asked: dict[bytes, str]) -> dict[bytes, Answer]:
        """Return the answers under these keys, checking that each belongs to its question in this context."""
        found: dict[bytes, Answer] = {}
        keys = list(asked)
        with self.transaction(write=False) as connection:
            for start in range(0, len(keys), _KEYS_PER_QUERY):
                part = keys[start : start + _KEYS_PER_QUERY]
                marks = ",".join("?" * len(part))
                rows = connection.execute(
                    "SELECT key, question, answer, checksum, device, batch_size, made FROM answers "
                    f"WHERE key IN ({marks})",
                    part,
                )
                for key, question, answer, checksum, device, size, made in rows:
                    if question != asked.get(key):
                        raise self._damaged(f"the answer {_shown(key)}")
                    value = self._value(context, key, question, answer, checksum, device, size, made)
                    found[key] = Answer(value, device)
        return found

    def _value(
        self, context: object, key: object, question: object, answer: Any, checksum: object, *origin: object
    ) -> Any:
        """Return the value in a row, if it is not damaged."""
        if is_intact(context, question, answer, checksum, *origin):
            try:
                return value_of(answer)
            except ValueError:
                pass
        raise self._damaged(f"the answer {_shown(key)}")


def _shown(key: object) -> str:
    return key.hex() if isinstance(key, bytes) else repr(key)
