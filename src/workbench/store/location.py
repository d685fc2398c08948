"""The path of a store's file, from the environment or the user's cache folder."""

import os
from pathlib import Path

from platformdirs import user_cache_path

from workbench.errors import StoreFailed
from workbench.paths import expanded


def default_path() -> Path:
    """Return `$WORKBENCH_STORE`, or `store.sqlite` in the user's cache folder.

    A relative path is resolved against the working directory at the first call, and the environment variable is updated so
    that child processes use the same file.

    Raises:
        StoreFailed: the path begins with the home of a user who does not exist.
    """
    named = os.environ.get("WORKBENCH_STORE")
    if not named:
        return user_cache_path("workbench") / "store.sqlite"
    path = whole_path(named)
    os.environ["WORKBENCH_STORE"] = str(path)
    return path


def whole_path(path: Path | str) -> Path:
    """Return the absolute path, with `~` replaced by the home folder.

    Raises:
        StoreFailed: it begins with the home of a user who does not exist.
    """
    whole = expanded(path)
    if str(whole).startswith("~"):
        raise StoreFailed(
            f"the store {path} names no folder, since there is no such user; write the path in full"
        )
    return whole.absolute()
