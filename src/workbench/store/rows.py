"""The rows of a store: how they are keyed and how damage is seen.

The key of an answer is a hash of its context and its question. A second answer, by another family of devices, has a key
of its own that covers the device too; so the first stays what everybody finds who does not ask for a device.
"""

import json
import sqlite3
import zlib
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import Any

Row = tuple[bytes, bytes, str, str | bytes, int, str, int, float]  # the columns of the table of answers
Origin = tuple[bytes, str, float, int]  # the columns of the table of origins

_DECODER = json.JSONDecoder()
# above the 32 bits of a checksum: it covers device, batch size and time as well (since format 2), and the context
_COVERS_ORIGIN, _COVERS_CONTEXT = 1 << 32, 1 << 33


def canonical(value: Any) -> str:
    """Write a JSON value in the one form that is hashed."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def digest_of(context: str) -> bytes:
    """What stands for a context in keys and rows."""
    return blake2b(context.encode(), digest_size=20).digest()


def key_of(context: bytes, question: str, device: str | None = None) -> bytes:
    """The key of the first answer to a question or, with a device, of a later one by another family of devices."""
    words = question if device is None else f"{question}\0{device}"
    return blake2b(words.encode(), key=context, digest_size=20).digest()


def checksum_of(*fields: str) -> int:
    """The checksum of a row of text fields."""
    return zlib.crc32(canonical(fields).encode())


def plain(text: str) -> str:
    """Text that SQLite takes: file names that are not UTF-8 hold lone surrogates, which JSON writes as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def seal(
    context: bytes, question: str, answer: str | bytes, device: str, batch_size: int, made: float
) -> int:
    """The checksum of an answer's row; it covers the context, so that no row passes for another model's."""
    raw = answer if isinstance(answer, bytes) else answer.encode()
    start = zlib.crc32(context, _crc_of_origin(device, batch_size, made))
    return _COVERS_CONTEXT | _COVERS_ORIGIN | zlib.crc32(raw, zlib.crc32(question.encode(), start))


def is_sealed(
    context: object, question: object, answer: object, checksum: object, device: object, batch_size: object, made: object
) -> bool:  # fmt: skip
    """Whether the fields of an answer's row are those that were written; never raises, whatever the fields are."""
    if not isinstance(question, str) or not isinstance(answer, str | bytes) or not isinstance(checksum, int):
        return False
    if not isinstance(context, bytes):
        return False
    start = (
        0 if checksum < _COVERS_ORIGIN else _crc_of_origin(device, batch_size, made)
    )  # 0: a row of format 1
    start = zlib.crc32(context, start) if checksum & _COVERS_CONTEXT else start
    raw = answer if isinstance(answer, bytes) else answer.encode()
    found = zlib.crc32(raw, zlib.crc32(question.encode(), start))
    return checksum & ~(_COVERS_ORIGIN | _COVERS_CONTEXT) == found


def value_of(answer: str | bytes) -> Any:
    """The JSON value, or the bytes of an .npy file.

    Raises:
        ValueError: it is no JSON.
    """
    if isinstance(answer, bytes):
        return answer
    try:
        return _DECODER.decode(answer)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def add_context(connection: sqlite3.Connection, digest: bytes, context: str) -> None:
    """Add a context, or put right what is there under its digest and is damaged."""
    connection.execute(
        "INSERT INTO contexts VALUES (?, ?) ON CONFLICT DO UPDATE SET context = excluded.context "
        "WHERE context != excluded.context",
        (digest, context),
    )


def origin(context: bytes, libraries: str, first: float) -> Origin:
    """The row that says with which versions answers in a context were computed, and when that was first so."""
    libraries = plain(libraries)
    return context, libraries, first, checksum_of(context.hex(), libraries, repr(first))


def add_origins(connection: sqlite3.Connection, rows: Iterable[Origin]) -> None:
    """Add origins; of one that is there, the earlier time stays."""
    connection.executemany(
        "INSERT INTO origins VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET first = excluded.first, "
        "checksum = excluded.checksum WHERE excluded.first < first",
        rows,
    )


def add_first(connection: sqlite3.Connection, rows: Iterable[Row]) -> int:
    """Add answers to questions that have none; says how many those were."""
    statement = "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    return connection.executemany(statement, rows).rowcount


def add_others(connection: sqlite3.Connection, rows: Iterable[Row]) -> int:
    """Add answers beside a first one that another family of devices gave; says how many were new."""
    statement = (
        "INSERT OR IGNORE INTO answers SELECT ?9, ?2, ?3, ?4, ?5, ?6, ?7, ?8 "
        "WHERE EXISTS (SELECT 1 FROM answers WHERE key = ?1 AND device != ?6)"
    )
    keyed = (
        (key_of(context, question), context, question, answer, checksum, device, *rest, key_of(context, question, device))
        for _, context, question, answer, checksum, device, *rest in rows
    )  # fmt: skip
    return connection.executemany(statement, keyed).rowcount


@lru_cache(maxsize=64)
def _crc_of_origin(device: object, batch_size: object, made: object) -> int:
    return zlib.crc32(f"{device!r} {batch_size!r} {made!r}".encode())
