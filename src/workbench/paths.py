"""Paths of the data and notebooks that ship with the package, both in a wheel and in an editable checkout."""

import os
from pathlib import Path

PACKAGE = Path(__file__).parent


def data_path(name: str = "") -> Path:
    """Return the path of a file or folder of `data/`, e.g. `data_path("published_results.csv")`."""
    return _shipped("data") / name


def notebook_path(name: str = "") -> Path:
    """Return the path of a notebook that ships with the package, e.g. `notebook_path("03_probing.ipynb")`."""
    return _shipped("notebooks") / name


def expanded(path: Path | str) -> Path:
    """Replace a leading `~` or `~user` by that home folder; if there is no such user, return the path unchanged."""
    return Path(os.path.expanduser(path))  # pathlib's version raises RuntimeError for an unknown user


def _shipped(folder: str) -> Path:
    in_wheel = PACKAGE / folder
    return in_wheel if in_wheel.is_dir() else PACKAGE.parents[1] / folder
