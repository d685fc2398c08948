"""Mixtures of prompted data in the published xP3 format: written, read from a folder or the hub, and sampled.

A mixture is a folder per language with files of JSON lines (`files`). Local files have random access (`local`), those
of the hub are read sequentially (`streamed`); the pairs of a training step are a pure function of seed and step
(`drawing`). What reads them imports the library of data sets, and is imported on first use.
"""

from importlib import import_module
from typing import Any

from workbench.training.mixtures.drawing import Pool
from workbench.training.mixtures.files import Pair, file_name, write

__all__ = ["Pair", "Pool", "file_name", "read", "read_streamed", "write"]


def __getattr__(name: str) -> Any:
    if name in ("read", "read_streamed"):
        return getattr(import_module("workbench.training.mixtures.opening"), name)
    raise AttributeError(f"workbench.training.mixtures has no name {name!r}; it has: {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
