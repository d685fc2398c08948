"""Local files of a mixture with random access: an index of line offsets (8 bytes a line) is kept in memory, but no texts."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

import numpy as np

from workbench.errors import BadInput
from workbench.training.mixtures.drawing import shuffled
from workbench.training.mixtures.files import DataFile, Pair, parse, parse_all, reading

CHUNK = 1 << 24  # bytes read at a time when lines are counted


@dataclass(frozen=True)
class Local:
    """Files on this machine, with random access to lines."""

    files: list[DataFile]
    seed: int

    @cached_property
    def _indexed(self) -> list["Indexed"]:
        return [_index(file) for file in self.files]

    @cached_property
    def _by_language(self) -> dict[str, tuple[list["Indexed"], np.ndarray]]:
        languages = sorted({file.language for file in self.files})
        parts = {name: [one for one in self._indexed if one.file.language == name] for name in languages}
        return {name: (held, np.cumsum([one.lines for one in held])) for name, held in parts.items()}

    def pair(self, language: str, number: int) -> Pair:
        """Return the n-th pair of a language: every line once in an order set by the seed, then all again in another order."""
        held, ends = self._by_language[language]
        epoch, place = divmod(number, int(ends[-1]))
        line = shuffled(place, int(ends[-1]), f"{self.seed} {language} {epoch}")
        which = int(np.searchsorted(ends, line, side="right"))
        return held[which].pair(line - (int(ends[which - 1]) if which else 0))

    def sizes(self) -> dict[str, int]:
        """Return the number of lines of each language."""
        return {name: int(ends[-1]) for name, (_, ends) in self._by_language.items()}

    def digests(self) -> list[tuple[str, str]]:
        """Return the SHA-256 of every file."""
        return [(f"{one.file.language}/{one.file.name}", one.digest) for one in self._indexed]

    def check(self) -> Iterator[Pair]:
        """Yield every line of every file, in order."""
        for file in self.files:
            with reading(file.path), Path(file.path).open("rb") as lines:
                yield from parse_all(lines, file.path)


@dataclass(frozen=True)
class Indexed:
    """A local file and the byte offsets of its lines, shape (lines + 1,)."""

    file: DataFile
    starts: np.ndarray
    digest: str

    @property
    def lines(self) -> int:
        """The number of lines."""
        return len(self.starts) - 1

    def pair(self, line: int) -> Pair:
        """Read a line, counted from 0."""
        with reading(self.file.path), Path(self.file.path).open("rb") as file:
            file.seek(int(self.starts[line]))
            text = file.read(int(self.starts[line + 1] - self.starts[line]))
        return parse(text, self.file.path, line + 1)


def _index(file: DataFile) -> Indexed:
    """Read a file once, and return the offsets of its lines and its digest.

    Raises:
        BadInput: a file without lines.
    """
    found, digest, at = [np.zeros(1, dtype=np.int64)], sha256(), 0
    with reading(file.path), Path(file.path).open("rb") as lines:
        while chunk := lines.read(CHUNK):
            digest.update(chunk)
            found.append(np.flatnonzero(np.frombuffer(chunk, dtype=np.uint8) == ord("\n")) + at + 1)
            at += len(chunk)
        starts = np.concatenate(found)
        if starts[-1] != at:  # the last line has no line break
            starts = np.append(starts, at)
        while len(starts) > 1 and _is_blank(lines, int(starts[-2]), int(starts[-1])):
            starts = starts[:-1]
    if len(starts) == 1:
        raise BadInput(f"{file.path} is empty; remove it, or write its lines")
    return Indexed(file, starts, digest.hexdigest())


def _is_blank(file: BinaryIO, start: int, end: int) -> bool:
    file.seek(start)
    return end - start < 1000 and not file.read(end - start).strip()
