"""What a course's modules of checks consist of: one check per graded cell.

A check draws fresh data from a generator, yields the calls it wants, receives what they returned, and returns whether a property holds:

    @check("ties", "ranking", "Equal scores have one documented winner.")
    def ties(draw):
        scores = draw.normal(size=3)
        [found] = yield [(scores,)]
        return found == int(np.argmax(scores))

It runs in the grader's process; the function of the student in another. A check should hold for every correct algorithm.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np

from workbench.errors import BadInput

Calls = Sequence[Sequence[Any]]
Probe = Callable[[np.random.Generator], Generator[Calls, list[Any], bool]]


@dataclass(frozen=True)
class Check:
    """A check of a function: the graded cell, the function's name, the sentence for those who fail, and what is tried."""

    cell: str
    function: str
    feedback: str
    probe: Probe


@dataclass(frozen=True)
class Choice:
    """A typed choice: the graded cell, the variable, its options, the right one (None: any is), and the sentence for those who fail."""

    cell: str
    variable: str
    options: tuple[str, ...]
    right: str | None
    feedback: str


@dataclass(frozen=True)
class Inspection:
    """A property of what was handed in as a folder: its name, points, and a function that returns why it does not hold, or ""."""

    cell: str
    points: float
    inspect: Callable[[Any], str]


def check(cell: str, function: str, feedback: str) -> Callable[[Probe], Check]:
    """Make a check of a generator function."""
    return lambda probe: Check(cell, function, feedback, probe)


def read_checks(path: Path) -> list[Check | Choice]:
    """Import a module of checks, and return those it defines, in order.

    Raises:
        BadInput: no such file.
    """
    if not path.is_file():
        raise BadInput(
            f"no checks at {path}; they are in the instructors' archive and in the repository, not in what students get"
        )
    spec = spec_from_file_location(f"coursework_checks_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return [each for each in vars(module).values() if isinstance(each, Check | Choice)]
