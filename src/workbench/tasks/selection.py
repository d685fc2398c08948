"""Which rows of a data set are taken: so many meanings, in the languages asked for.

Rows from files and from the hub are drawn, since the first ones of a file need not be like the others. The draw depends on the
seed and on the meaning alone: all languages have the same meanings, and a larger limit contains those of a smaller one. Rows
with a field `set` belong to a set of choices, which is taken whole.
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any

from workbench.errors import UnknownName
from workbench.tasks.values import expect_count


def select(
    rows: list[dict[str, Any]],
    languages: Sequence[str] | None,
    limit: int | None,
    what: str,
    seed: int | None = None,
) -> list[dict[str, Any]]:
    """Return the rows of `limit` meanings in the requested languages, in their order.

    Args:
        seed: Of the draw of the meanings; without one, the first are taken.

    Raises:
        UnknownName: a language without rows.
        BadInput: a limit that is not an integer above 0.
    """
    kept = _kept(rows, limit, seed)
    languages = None if languages is None else list(languages)
    expect_languages(languages or (), dict.fromkeys(row["language"] for row in rows), what)
    wanted = languages or {row["language"] for row in rows}
    return [row for row in rows if _place(row) in kept and row["language"] in wanted]


def select_each(
    rows: list[dict[str, Any]], limit: int | None, seed: int | None = None
) -> list[dict[str, Any]]:
    """Return the rows of `limit` meanings of each language, where languages have different ones; as `select`."""
    spoken: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        spoken.setdefault(row["language"], []).append(row)
    kept = {code: _kept(each, limit, seed) for code, each in spoken.items()}
    return [row for row in rows if _place(row) in kept[row["language"]]]


def shared_meanings(
    rows: Sequence[dict[str, Any]], limit: int | None = None, seed: int | None = None
) -> list[dict[str, Any]]:
    """Return the rows of `limit` meanings that all languages of these rows have; as `select`."""
    spoken: dict[str, set[str]] = {}
    for row in rows:
        spoken.setdefault(row["cluster"], set()).add(row["language"])
    everywhere = len({row["language"] for row in rows})
    return select(
        [row for row in rows if len(spoken[row["cluster"]]) == everywhere], None, limit, "these rows", seed
    )


def expect_languages(asked: Iterable[str], there: Iterable[str], what: str) -> None:
    """Raise UnknownName for a language that is not there; the message lists those that are."""
    known = list(there)
    for language in asked:
        if language not in known:
            raise UnknownName(f"{what} has no language {language!r}; it has: {', '.join(known)}")


def _place(row: dict[str, Any]) -> tuple[str, str]:
    """Return the set of choices and the meaning of a row."""
    return row.get("set", row["cluster"]), row["cluster"]


def _kept(rows: Sequence[dict[str, Any]], limit: int | None, seed: int | None) -> set[tuple[str, str]]:
    """Return the places of at most `limit` meanings; of sets of choices whole ones, or else a part of the first."""
    places = dict.fromkeys(map(_place, rows))
    if limit is None:
        return {*places}
    expect_count("limit", limit)
    sets: dict[str, dict[str, None]] = {}
    for name, cluster in places:
        sets.setdefault(name, {})[cluster] = None
    kept: set[tuple[str, str]] = set()
    meanings: set[str] = set()
    for name in sets if seed is None else sorted(sets, key=lambda one: _drawn(one, seed)):
        members = list(sets[name])[: limit if not kept else None]
        if len(meanings) + len({*members} - meanings) > limit:
            break
        meanings.update(members)
        kept.update((name, cluster) for cluster in members)
    return kept


def _drawn(name: str, seed: int) -> bytes:
    return blake2b(f"{seed} {name}".encode()).digest()
