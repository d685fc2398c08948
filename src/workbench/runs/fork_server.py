"""The processes of runs, forked from a server that has imported what every run needs, and never torch.

The server is that of `multiprocessing`. An interpreter that starts afresh spends 2 s of CPU time on these imports, and a run
needs two interpreters; `workbench.runs.preload` saves each run another. Only `workbench.runs.bundles`, a program of our own,
uses it: `multiprocessing` imports a program's main module again in each process, which a caller's script need not expect.
"""

import os
import sys
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.forkserver import ensure_running
from pathlib import Path
from typing import Any

from workbench.runs.forking import Forked
from workbench.runs.supervise import Process, Start

CAN_FORK = sys.platform == "linux"  # system libraries on macOS do not survive a fork
_IMPORTED = [
    "workbench.runs.preload", "ipykernel.ipkernel", "ipykernel.zmqshell", "ipykernel.debugger", "IPython.core.oinspect",
    "pandas", "pandas.io.formats.style", "pandas.io.formats.csvs", "pandas.io.formats.html", "pyarrow.parquet",
    "pyarrow.pandas_compat", "scipy.stats", "scipy.optimize", "matplotlib.pyplot", "matplotlib.backends.backend_agg",
    "matplotlib.style", "matplotlib_inline.backend_inline", "PIL.PngImagePlugin", "tokenizers", "workbench.inference",
    "workbench.inference.ranking", "workbench.inference.generation", "workbench.tasks", "workbench.figures",
    "workbench.studies.published", "workbench.studies.sensitivity", "workbench.studies.closing_mark", "workbench.studies.transfer",
]  # fmt: skip


def prepare() -> None:
    """Start the server, which imports these modules before its first fork."""
    if CAN_FORK:
        get_context("forkserver").set_forkserver_preload(_IMPORTED)
        ensure_running()


def start_forked(start: Start) -> Process:
    """Start the process of a run as a fork of the server; its kernel will be a fork of that process."""
    forks = get_context("forkserver")
    lifeline, ours = forks.Pipe(duplex=False)
    facts = (lifeline, start.out.name, start.err.name, start.cwd, dict(start.environment), start.orders)
    process = Forked(forks.Process(target=_carry_out, args=facts))
    lifeline.close()
    process.stdin = os.fdopen(os.dup(ours.fileno()), "wb")
    ours.close()
    return process


def _carry_out(
    lifeline: Any, out: str, err: str, cwd: Path, environment: dict[str, str], orders: Path
) -> None:
    os.setsid()
    os.dup2(lifeline.fileno(), 0)
    for path, descriptor in ((out, 1), (err, 2)):
        file = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.dup2(file, descriptor)
        os.close(file)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    import_module("workbench.runs.child").carry_out(
        orders, forks=True
    )  # here only: the bundle's process needs no papermill
