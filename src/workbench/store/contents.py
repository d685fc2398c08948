"""Counts of the answers in a store by kind and model, and removal of superseded ones; tolerates damaged rows."""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from workbench.store.identities import identity_in, public_identities

Algorithms = Mapping[str, Mapping[Any, int]]  # current versions, by engine and kind of answer


def count_answers(connection: sqlite3.Connection, algorithms: Algorithms) -> dict[str, Any]:
    """Count answers by kind, model and dtype; those of other algorithm versions are counted separately, as `superseded`."""
    connection.text_factory = bytes  # damaged text may not be valid UTF-8
    try:
        counts = connection.execute("SELECT context, count(*) FROM answers GROUP BY context").fetchall()
        contexts = dict(connection.execute("SELECT digest, context FROM contexts").fetchall())
        names = _names_by_weights(connection.execute("SELECT * FROM identities ORDER BY name"))
        origins = connection.execute("SELECT context, libraries FROM origins ORDER BY first").fetchall()
    finally:
        connection.text_factory = str
    used: Counter[str] = Counter()
    superseded: Counter[str] = Counter()
    models: dict[bytes, str] = {}  # by context
    for digest, count in counts:
        fields, label = _settings_in(contexts.get(digest)), "unknown settings"
        if fields is not None:
            weights = str(fields.get("weights"))
            quantization = str(fields.get("quantization") or "").split(" ")[0]  # "8bit bitsandbytes, …"
            model = " ".join(
                filter(None, [names.get(weights, weights[:12]), quantization, str(fields.get("dtype"))])
            )
            label = f"{fields.get('kind')} {model}"
        if _is_superseded(fields, algorithms):
            superseded[label] += count
        else:
            used[label] += count
            models |= {digest: model} if fields is not None else {}
    return {
        "answers": used.total() + superseded.total(),
        "by_kind": dict(used),
        "superseded": dict(superseded),
        "libraries": _several_libraries(origins, models),
    }


def remove_superseded(connection: sqlite3.Connection, algorithms: Algorithms) -> int:
    """Remove the answers of other algorithm versions and return their number."""
    contexts = connection.execute("SELECT digest, CAST(context AS BLOB) FROM contexts").fetchall()
    old = [(digest,) for digest, context in contexts if _is_superseded(_settings_in(context), algorithms)]
    removed = connection.executemany("DELETE FROM answers WHERE context = ?", old).rowcount
    connection.executemany("DELETE FROM contexts WHERE digest = ?", old)
    connection.executemany("DELETE FROM origins WHERE context = ?", old)
    return removed if old else 0


def count_lost(connection: sqlite3.Connection) -> int:
    """Return the number of answers whose context is lost, so that their model is unknown."""
    query = "SELECT count(*) FROM answers WHERE context NOT IN (SELECT digest FROM contexts)"
    return int(connection.execute(query).fetchone()[0])


def _several_libraries(
    origins: Iterable[tuple[Any, Any]], models: Mapping[bytes, str]
) -> dict[str, list[str]]:
    """Return the library versions behind each model's answers, in order of first use, if more than one."""
    found: dict[str, dict[str, None]] = {}
    for context, libraries in origins:
        if context in models and isinstance(libraries, bytes):
            found.setdefault(models[context], {})[libraries.decode(errors="replace")] = None
    return {model: list(several) for model, several in found.items() if len(several) > 1}


def _is_superseded(fields: dict[str, Any] | None, algorithms: Algorithms) -> bool:
    """Whether the answers of this context are no longer found because the algorithm version has changed."""
    if fields is None:
        return False
    versions = algorithms.get(str(fields.get("engine")), {})
    kind = str(fields.get("kind"))
    return kind in versions and fields.get("algorithm") != versions[kind]


def _settings_in(context: object) -> dict[str, Any] | None:
    """Return the settings in a context; None if it is damaged."""
    try:
        fields = json.loads(context)  # type: ignore[arg-type]
    except (ValueError, TypeError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None


def _names_by_weights(rows: Iterable[tuple[Any, Any, Any]]) -> dict[str, str]:
    found = {}
    for name, text, checksum in rows:
        try:
            about = identity_in(name.decode(), text.decode(), checksum)
        except (ValueError, AttributeError):  # damaged, or not text
            continue
        if about is not None:
            found[name.decode()] = about
    return {about["weights"]: name for name, about in public_identities(found).items()}
