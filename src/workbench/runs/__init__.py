"""One notebook, many parameters: run it, keep what came out, show it, repeat it.

`run` executes a notebook through papermill in its own process and keeps the result in a folder; `sweep` does many runs
and `read` gives them as one table; `verify` runs again and compares, `accept` says what is expected; `parse` reads
parameters from a command line; `write_index` writes the page over all runs; `execute_committed` and `check_committed`
keep the executed copies in `notebooks/` honest. Names are imported on first use: a single run needs no table.
"""

from importlib import import_module
from typing import Any

_FILE_OF = {
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

__all__ = [*_FILE_OF]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _FILE_OF:
        raise AttributeError(f"workbench.runs has no name {name!r}; it has: {', '.join(_FILE_OF)}")
    return getattr(import_module(f"workbench.runs.{_FILE_OF[name]}"), name)
