"""One notebook, many parameters: run it, keep what came out, show it, repeat it.

`run` executes a notebook through papermill in its own process and keeps the result in a folder; `sweep` does many runs
and `read` gives them as one table; `verify` runs again and compares, `accept` says what is expected; `parse` reads
parameters from a command line; `write_index` writes the page over all runs; `execute_committed` and `check_committed`
keep the executed copies in `notebooks/` honest. Names are imported on first use: a single run needs no table.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workbench.runs.committed import check_committed, execute_committed
    from workbench.runs.notebooks import find_notebook, read_notebook
    from workbench.runs.parameters import parse
    from workbench.runs.reading import read
    from workbench.runs.report import write_index
    from workbench.runs.supervise import Run, run
    from workbench.runs.sweeps import sweep
    from workbench.runs.verdict import TimeLimit
    from workbench.runs.verifying import accept, find_cases, verify

_FILES = {
    "Run": "supervise",
    "TimeLimit": "verdict",
    "accept": "verifying",
    "check_committed": "committed",
    "execute_committed": "committed",
    "find_cases": "verifying",
    "find_notebook": "notebooks",
    "parse": "parameters",
    "read": "reading",
    "read_notebook": "notebooks",
    "run": "supervise",
    "sweep": "sweeps",
    "verify": "verifying",
    "write_index": "report",
}

__all__ = [
    "Run",
    "TimeLimit",
    "accept",
    "check_committed",
    "execute_committed",
    "find_cases",
    "find_notebook",
    "parse",
    "read",
    "read_notebook",
    "run",
    "sweep",
    "verify",
    "write_index",
]


def __getattr__(name: str) -> Any:
    if name not in _FILES:
        raise AttributeError(f"workbench.runs has no name {name!r}; it has: {', '.join(_FILES)}")
    return getattr(import_module(f"workbench.runs.{_FILES[name]}"), name)
