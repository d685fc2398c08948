"""Where the data and notebooks that ship with the package are, in a wheel and in an editable checkout alike."""

import os
from pathlib import Path

PACKAGE = Path(__file__).parent


def data_path(name: str = "") -> Path:
    """Find a file or folder of `data/`, e.g. `data_path("published_results.csv")`."""
    return _shipped("data") / name


def notebook_path(name: str = "") -> Path:
    """Find a notebook that ships with the package, e.g. `notebook_path("03_probing.ipynb")`."""
    return _shipped("notebooks") / name


def expanded(path: Path | str) -> Path:
    """Replace a leading `~` or `~user` by that home folder; where there is none, the path stays as it is."""
    return Path(os.path.expanduser(path))  # pathlib's raises a RuntimeError for an unknown user


def _shipped(folder: str) -> Path:
    in_wheel = PACKAGE / folder
    return in_wheel if in_wheel.is_dir() else PACKAGE.parents[1] / folder
