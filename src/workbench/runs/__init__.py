"""One notebook, many parameters: run it, keep what came out, show it.

`run` executes a notebook through papermill in its own process and keeps the result in a folder; `parse` reads
parameters from a command line; `write_index` writes the page over all runs; `execute_committed` and `check_committed`
keep the executed copies in `notebooks/` honest.
"""

from workbench.runs.committed import check_committed, execute_committed
from workbench.runs.notebooks import read_notebook
from workbench.runs.parameters import parse
from workbench.runs.report import write_index
from workbench.runs.supervise import Run, run
from workbench.runs.verdict import TimeLimit

__all__ = [
    "Run",
    "TimeLimit",
    "check_committed",
    "execute_committed",
    "parse",
    "read_notebook",
    "run",
    "write_index",
]
