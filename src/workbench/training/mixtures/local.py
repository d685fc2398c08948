"""Local files of a mixture, read anywhere: an index of where their lines begin (8 bytes a line), and no texts."""

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

CHUNK = 1 << 24  # bytes read at once when lines are counted


@dataclass(frozen=True)
class Local:
    """Files on this machine; any line can be read at once."""

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
        """The n-th pair of a language: every line once in an order of the seed's, then all again in another."""
        held, ends = self._by_language[language]
        epoch, place = divmod(number, int(ends[-1]))
        line = shuffled(place, int(ends[-1]), f"{self.seed} {language} {epoch}")
        which = int(np.searchsorted(ends, line, side="right"))
        return held[which].pair(line - (int(ends[which - 1]) if which else 0))

    def sizes(self) -> dict[str, int]:
        """Lines of each language."""
        return {name: int(ends[-1]) for name, (_, ends) in self._by_language.items()}

    def digests(self) -> list[tuple[str, str]]:
        """The SHA-256 of every file."""
        return [(f"{one.file.language}/{one.file.name}", one.digest) for one in self._indexed]

    def check(self) -> Iterator[Pair]:
        """Every line of every file, in order."""
        for file in self.files:
            with reading(file.path), Path(file.path).open("rb") as lines:
                yield from parse_all(lines, file.path)


@dataclass(frozen=True)
class Indexed:
    """A local file and where its lines begin: byte offsets of shape (lines + 1,)."""

    file: DataFile
    starts: np.ndarray
    digest: str

    @property
    def lines(self) -> int:
        """How many lines the file has."""
        return len(self.starts) - 1

    def pair(self, line: int) -> Pair:
        """Read a line, counted from 0."""
        with reading(self.file.path), Path(self.file.path).open("rb") as file:
            file.seek(int(self.starts[line]))
            text = file.read(int(self.starts[line + 1] - self.starts[line]))
        return parse(text, self.file.path, line + 1)


def _index(file: DataFile) -> Indexed:
    """Read a file once: where its lines begin, and its digest.

    Raises:
        BadInput: an empty file.
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
