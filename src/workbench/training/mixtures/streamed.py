"""Files of a mixture read in one direction through `datasets`, so that those of the hub need no room on the disk.

What a training drew before it was interrupted is read again, and dropped, when it goes on: as much traffic and time
as the first reading. Every process of a training streams for itself.
"""

import glob
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from datasets import IterableDataset
from datasets.utils.logging import disable_progress_bar

from workbench.errors import BadInput
from workbench.training.mixtures.drawing import shuffled, shuffled_window
from workbench.training.mixtures.files import DataFile, Pair, parse_all, reading

OPEN_FILES = 16  # of a language, read in turn
WINDOW = 2_000  # pairs of a language held to mix its stream


@dataclass(frozen=True)
class Streamed:
    """Files read in one direction through `datasets`, a few at a time; what was passed by is read again."""

    files: list[DataFile]
    seed: int
    _at: dict[str, tuple[int, Iterator[Pair]]] = field(default_factory=dict)

    def pair(self, language: str, number: int) -> Pair:
        """The n-th pair of a language; quick for the one after the last, else the stream begins anew."""
        at, stream = self._at.get(language, (0, None))
        if stream is None or number < at:
            at, stream = 0, self._endless(language)
        found = next(islice(stream, number - at, None))
        self._at[language] = (number + 1, stream)
        return found

    def sizes(self) -> dict[str, int]:
        """Bytes of each language."""
        languages = sorted({file.language for file in self.files})
        return {name: sum(f.size for f in self.files if f.language == name) for name in languages}

    def digests(self) -> list[tuple[str, str]]:
        """Address (with the hub's commit) and size of every file: their content is not read for it."""
        return [(file.path, str(file.size)) for file in self.files]

    def check(self) -> Iterator[Pair]:
        """Nothing: what is not at hand is checked as it comes."""
        return iter(())

    def _endless(self, language: str) -> Iterator[Pair]:
        files = [file for file in self.files if file.language == language]
        epoch = 0
        while True:
            key = f"{self.seed} {language} {epoch}"
            order = [files[shuffled(place, len(files), key)] for place in range(len(files))]
            pairs = shuffled_window(key, _in_turn(order), WINDOW)
            first = next(pairs, None)
            if first is None:
                raise BadInput(
                    f"all files of {language!r} are empty; write their lines, or leave the language out"
                )
            yield first
            yield from pairs
            epoch += 1


def _in_turn(files: list[DataFile]) -> Iterator[Pair]:
    """The lines of files, a few files at a time in turn (a file is one template, and sorted by length)."""
    waiting = iter(files)
    streams = [_stream(file) for file in islice(waiting, OPEN_FILES)]
    while streams:
        for place, stream in reversed(list(enumerate(streams))):
            pair = next(stream, None)
            if pair is not None:
                yield pair
                continue
            more = next(waiting, None)
            streams[place : place + 1] = [] if more is None else [_stream(more)]


def _stream(file: DataFile) -> Iterator[Pair]:
    """The pairs of one file, as `datasets` streams its lines (and asks the hub again where it breaks off).

    As text, so that a broken line can be named: bytes that are no UTF-8 become backslashes, which no JSON has there. And not by
    `load_dataset`, which would report every file to the hub.
    """
    disable_progress_bar()
    lines = IterableDataset.from_text(glob.escape(file.path), encoding_errors="backslashreplace")
    with reading(file.path):
        yield from parse_all((row["text"] for row in lines), file.path)
