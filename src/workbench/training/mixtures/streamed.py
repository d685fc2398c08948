"""Files of a mixture read sequentially through `datasets`, so that those of the hub need no disk space.

A resumed training rereads and discards what it drew before the interruption, which takes as much traffic and time as
the first reading. Every process of a training streams separately.
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

OPEN_FILES = 16  # of a language, read in rotation
WINDOW = 2_000  # pairs of a language held to shuffle its stream


@dataclass(frozen=True)
class Streamed:
    """Files read sequentially through `datasets`, a few at a time; earlier pairs are reread."""

    files: list[DataFile]
    seed: int
    _at: dict[str, tuple[int, Iterator[Pair]]] = field(default_factory=dict)

    def pair(self, language: str, number: int) -> Pair:
        """Return the n-th pair of a language; fast in ascending order, while a number before the last restarts the stream."""
        at, stream = self._at.get(language, (0, None))
        if stream is None or number < at:
            at, stream = 0, self._endless(language)
        found = next(islice(stream, number - at, None))
        self._at[language] = (number + 1, stream)
        return found

    def sizes(self) -> dict[str, int]:
        """Return the bytes of each language."""
        languages = sorted({file.language for file in self.files})
        return {name: sum(f.size for f in self.files if f.language == name) for name in languages}

    def digests(self) -> list[tuple[str, str]]:
        """Return address (with the hub's commit) and size of every file; the contents are not read."""
        return [(file.path, str(file.size)) for file in self.files]

    def check(self) -> Iterator[Pair]:
        """Yield nothing: streamed lines are validated when they are drawn."""
        return iter(())

    def _endless(self, language: str) -> Iterator[Pair]:
        files = [file for file in self.files if file.language == language]
        epoch = 0
        while True:
            key = f"{self.seed} {language} {epoch}"
            order = [files[shuffled(place, len(files), key)] for place in range(len(files))]
            pairs = shuffled_window(key, _interleaved(order), WINDOW)
            first = next(pairs, None)
            if first is None:
                raise BadInput(
                    f"all files of {language!r} are empty; write their lines, or leave the language out"
                )
            yield first
            yield from pairs
            epoch += 1


def _interleaved(files: list[DataFile]) -> Iterator[Pair]:
    """Yield the lines of files, from a few files in rotation (a file is one template, and sorted by length)."""
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
    """Yield the pairs of one file; `datasets` streams its lines and reconnects to the hub if interrupted.

    Lines are read as text, so that a malformed one can be named: bytes that are not UTF-8 become backslash escapes, which are
    not valid JSON there. `load_dataset` is not used because it would report every file to the hub.
    """
    disable_progress_bar()
    lines = IterableDataset.from_text(glob.escape(file.path), encoding_errors="backslashreplace")
    with reading(file.path):
        yield from parse_all((row["text"] for row in lines), file.path)
