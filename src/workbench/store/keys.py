"""The rows of a store: their keys and checksums.

The key of an answer is a hash of its context and its question. The key of a second answer, by another device family, also
covers the device, so a lookup without a device always finds the first answer.
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
# flags above the 32 bits of the CRC: it also covers device, batch size and time (since format 2), or the context
_COVERS_ORIGIN, _COVERS_CONTEXT = 1 << 32, 1 << 33


def canonical(value: Any) -> str:
    """Return the canonical JSON text of a value, which is what gets hashed."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def digest_of(context: str) -> bytes:
    """Return the digest that identifies a context in keys and rows."""
    return blake2b(context.encode(), digest_size=20).digest()


def key_of(context: bytes, question: str, device: str | None = None) -> bytes:
    """Return the key of the first answer to a question or, with `device`, of a later one by another device family."""
    words = question if device is None else f"{question}\0{device}"
    return blake2b(words.encode(), key=context, digest_size=20).digest()


def checksum_of(*fields: str) -> int:
    """Return the checksum of a row of text fields."""
    return zlib.crc32(canonical(fields).encode())


def plain(text: str) -> str:
    """Return text that SQLite accepts, with lone surrogates (from file names that are not UTF-8) as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def answer_checksum(
    context: bytes, question: str, answer: str | bytes, device: str, batch_size: int, made: float
) -> int:
    """Return the checksum of an answer's row; it covers the context, so that no row can be attributed to another model."""
    raw = answer if isinstance(answer, bytes) else answer.encode()
    start = zlib.crc32(context, _crc_of_origin(device, batch_size, made))
    return _COVERS_CONTEXT | _COVERS_ORIGIN | zlib.crc32(raw, zlib.crc32(question.encode(), start))


def is_intact(
    context: object, question: object, answer: object, checksum: object, device: object, batch_size: object, made: object
) -> bool:  # fmt: skip
    """Whether the fields of an answer's row match its checksum; never raises, whatever the fields are."""
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
    """Return the JSON value, or the bytes of an .npy file.

    Raises:
        ValueError: the text is not valid JSON.
    """
    if isinstance(answer, bytes):
        return answer
    try:
        return _DECODER.decode(answer)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def add_context(connection: sqlite3.Connection, digest: bytes, context: str) -> None:
    """Add a context, replacing a damaged one under the same digest."""
    connection.execute(
        "INSERT INTO contexts VALUES (?, ?) ON CONFLICT DO UPDATE SET context = excluded.context "
        "WHERE context != excluded.context",
        (digest, context),
    )


def origin(context: bytes, libraries: str, first: float) -> Origin:
    """Return the row that records the library versions behind answers in a context, and the time of their first use."""
    libraries = plain(libraries)
    return context, libraries, first, checksum_of(context.hex(), libraries, repr(first))


def add_origins(connection: sqlite3.Connection, rows: Iterable[Origin]) -> None:
    """Add origins; for an existing one, the earlier time is kept."""
    connection.executemany(
        "INSERT INTO origins VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET first = excluded.first, "
        "checksum = excluded.checksum WHERE excluded.first < first",
        rows,
    )


def add_first(connection: sqlite3.Connection, rows: Iterable[Row]) -> int:
    """Add answers to questions that have none yet and return the number added."""
    statement = "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    return connection.executemany(statement, rows).rowcount


def add_others(connection: sqlite3.Connection, rows: Iterable[Row]) -> int:
    """Add answers beside a first one by another device family and return the number added."""
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
