"""Run a notebook with many sets of parameters; keep, display and reproduce the results.

`run` executes a notebook through papermill in a separate process and stores the result in a folder; `plan` checks a run, and
`run_all` executes several plans side by side; `sweep` does many runs of one notebook and `read` returns them as one table;
`verify` repeats runs and compares them with expected values, `accept` writes those values; `parse` reads parameters from a
command line, `read_preset` from a preset; `write_index` writes a page of all runs; `execute_committed` and `check_committed` keep
the executed notebooks in `notebooks/` up to date. Names are imported on first use, so a single run does not load pandas. `Model`, `Partner`, `Base`, `OtherModel`, `Source`, `Task`, `Language`, `PromptLanguage`,
`Wording` and `Attribute` are types of parameters.
"""

from importlib import import_module
from typing import Any

_FILE_OF = {
    "Attribute": "types",
    "Base": "types",
    "Language": "types",
    "Model": "types",
    "OtherModel": "types",
    "Partner": "types",
    "PromptLanguage": "types",
    "Run": "supervise",
    "Source": "types",
    "Task": "types",
    "TimeLimit": "outcome",
    "Wording": "types",
    "accept": "verifying",
    "check_committed": "committed",
    "execute_committed": "committed",
    "find_cases": "verifying",
    "find_notebook": "notebooks",
    "parse": "parameters",
    "plan": "plans",
    "read": "results",
    "read_notebook": "notebooks",
    "read_part": "sweep_file",
    "read_preset": "presets",
    "run": "supervise",
    "run_all": "side_by_side",
    "sweep": "sweeps",
    "verify": "verifying",
    "write_index": "report",
}

__all__ = [*_FILE_OF]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _FILE_OF:
        raise AttributeError(f"workbench.runs has no name {name!r}; it has: {', '.join(_FILE_OF)}")
    return getattr(import_module(f"workbench.runs.{_FILE_OF[name]}"), name)
