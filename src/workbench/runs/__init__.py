"""One notebook, many parameters: run it, keep what came out, show it, repeat it.

`run` executes a notebook through papermill in its own process and keeps the result in a folder; `sweep` does many runs
and `read` gives them as one table; `verify` runs again and compares, `accept` says what is expected; `parse` reads parameters from a command line; `write_index` writes the page over all
runs; `execute_committed` and `check_committed` keep the executed copies in `notebooks/` honest.
"""

from workbench.runs.committed import check_committed, execute_committed
from workbench.runs.notebooks import find_notebook, read_notebook
from workbench.runs.parameters import parse
from workbench.runs.reading import read
from workbench.runs.report import write_index
from workbench.runs.supervise import Run, run
from workbench.runs.sweeps import sweep
from workbench.runs.verdict import TimeLimit
from workbench.runs.verify import accept, find_cases, verify

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
