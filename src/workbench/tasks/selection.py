"""Which rows of a data set are taken: so many meanings, in the languages asked for."""

from collections.abc import Iterable, Sequence
from typing import Any

from workbench.errors import UnknownName
from workbench.tasks.values import expect_count


def select(
    rows: list[dict[str, Any]], languages: Sequence[str] | None, limit: int | None, what: str
) -> list[dict[str, Any]]:
    """Return the rows of the first `limit` meanings in the requested languages.

    Raises:
        UnknownName: a language without rows.
        BadInput: a limit that is not an integer above 0.
    """
    if limit is not None:
        expect_count("limit", limit)
    languages = None if languages is None else list(languages)
    expect_languages(languages or (), dict.fromkeys(row["language"] for row in rows), what)
    clusters = dict.fromkeys(row["cluster"] for row in rows)
    kept, wanted = {*list(clusters)[:limit]}, languages or {row["language"] for row in rows}
    return [row for row in rows if row["cluster"] in kept and row["language"] in wanted]


def select_each(rows: list[dict[str, Any]], limit: int | None) -> list[dict[str, Any]]:
    """Return the rows of the first `limit` meanings of each language, where languages have different ones."""
    if limit is not None:
        expect_count("limit", limit)
    clusters: dict[str, dict[str, None]] = {}
    for row in rows:
        clusters.setdefault(row["language"], {})[row["cluster"]] = None
    kept = {code: {*list(each)[:limit]} for code, each in clusters.items()}
    return [row for row in rows if row["cluster"] in kept[row["language"]]]


def shared_meanings(rows: Sequence[dict[str, Any]], limit: int | None = None) -> list[dict[str, Any]]:
    """Return the rows of the first `limit` meanings that all languages of these rows have."""
    if limit is not None:
        expect_count("limit", limit)
    spoken: dict[str, set[str]] = {}
    for row in rows:
        spoken.setdefault(row["cluster"], set()).add(row["language"])
    everywhere = len({row["language"] for row in rows})
    kept = {*[cluster for cluster, codes in spoken.items() if len(codes) == everywhere][:limit]}
    return [row for row in rows if row["cluster"] in kept]


def expect_languages(asked: Iterable[str], there: Iterable[str], what: str) -> None:
    """Raise UnknownName for a language that is not there; the message lists those that are."""
    known = list(there)
    for language in asked:
        if language not in known:
            raise UnknownName(f"{what} has no language {language!r}; it has: {', '.join(known)}")
