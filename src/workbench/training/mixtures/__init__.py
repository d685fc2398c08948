"""Mixtures of prompted data in the published xP3 format: written, read from a folder or the hub, and sampled.

A mixture is a folder per language with files of JSON lines (`files`). Local files have random access (`local`), those
of the hub are read sequentially (`streamed`); the pairs of a training step are a pure function of seed and step
(`drawing`).
"""

from workbench.training.mixtures.drawing import Pool
from workbench.training.mixtures.files import Pair, file_name, write
from workbench.training.mixtures.opening import read, read_streamed

__all__ = ["Pair", "Pool", "file_name", "read", "read_streamed", "write"]
