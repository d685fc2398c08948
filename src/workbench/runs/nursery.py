"""The warm parent of runs over the same models: it has imported and loaded, has run no operator, and forks once per task.

`workbench.runs.local` starts it as `python -m workbench.runs.nursery`, with a Unix socket as its standard input. Each
message carries a task and the write end of a pipe; a process forked for the task runs it and writes the result into the
pipe. A pipe that closes empty means that the process died. When the socket closes, running tasks are interrupted.

No run can change another's result, because all are forked from a parent that never executes a notebook. Weights are
shared on the CPU; a GPU context does not survive a fork, so on GPUs each run reads the weights itself.
"""

import ast
import gc
import os
import pickle
import signal
import socket
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from time import sleep

from threadpoolctl import threadpool_limits

from workbench.errors import WorkbenchError
from workbench.models import load
from workbench.runs import child
from workbench.runs.forking import Forked
from workbench.runs.identity import gpus
from workbench.runs.kernels import WaitingKernel
from workbench.runs.notebooks import read_notebook
from workbench.runs.supervise import STARTER, Process, Start, start_afresh

# Modules that notebooks, and the process of a run, import only while they run.
_LATER = (
    "matplotlib.backends.backend_agg", "matplotlib_inline.backend_inline", "matplotlib.style", "pandas.io.formats.style",
    "PIL.PngImagePlugin", "pyarrow.pandas_compat", "pyarrow.parquet",
)  # fmt: skip


def warm_up(notebook: Path, models: Iterable[str]) -> None:
    """Import what the notebook imports, and read the models' weights if there is no GPU."""
    for statement in _imports(notebook):
        _import(statement)
    for name in _LATER:
        with suppress(ImportError):
            import_module(name)
    child.prepare_report(notebook)
    if not gpus():
        share_weights(models)
    gc.collect()
    gc.freeze()  # exempts what is loaded from collection, which would copy its pages in each child


def share_weights(models: Iterable[str]) -> None:
    """Read weights now, so that handles created later, here and in forked processes, use them.

    Models that cannot be read are skipped; the run that needs one raises the error.
    """
    import_module(
        "workbench.engines.transformers.engine"
    )  # imports torch: threadpoolctl limits only libraries that are loaded
    with threadpool_limits(1):  # OpenMP threads do not survive a fork; with a limit of 1 none are started
        for name in models:
            with suppress(WorkbenchError):
                handle = load(name)
                handle.keep_engine()
                handle.store.close()


def serve(door: socket.socket, starter: Callable[[Start], Process]) -> None:
    """Fork a process for each task received until the socket closes; then interrupt those still running."""
    working: list[Forked] = []
    door.sendall(b"ready")
    while (message := _receive(door)) is not None:
        task, answer = message
        working = [process for process in working if process.poll() is None]
        nothing = os.open(os.devnull, os.O_RDWR)
        working.append(Forked(_answering(task, answer, starter), (nothing, nothing, 2), keep=(answer,)))
        os.close(nothing)
        os.close(answer)
    for process in working:
        process.send_signal(signal.SIGINT)
    while any(process.poll() is None for process in working):
        sleep(0.05)


def _receive(door: socket.socket) -> tuple[bytes, int] | None:
    """Return the next task and its pipe (eight bytes of length, then the pickled task), or None when the socket has closed."""
    head, descriptors, _, _ = socket.recv_fds(door, 8, 1)
    if len(head) < 8 or not descriptors:
        return None
    wanted = int.from_bytes(head, "big")
    task = bytearray()
    while len(task) < wanted:
        part = door.recv(wanted - len(task))
        if not part:
            return None
        task += part
    return bytes(task), descriptors[0]


def _answering(message: bytes, answer: int, starter: Callable[[Start], Process]) -> Callable[[], None]:
    def work() -> None:
        STARTER.set(starter)
        environment, task = pickle.loads(message)
        os.environ.update(environment)
        result = task()
        with os.fdopen(answer, "wb") as pipe:
            pickle.dump(result, pipe)

    return work


def start_forked(start: Start) -> Process:
    """Start the process of a run as a fork of this one, and its kernel as a fork of that process."""
    life, hold = os.pipe()

    def work() -> None:
        os.chdir(start.cwd)
        os.environ.clear()
        os.environ.update(start.environment)
        child.carry_out(start.orders, WaitingKernel())

    process = Forked(work, (life, start.out.fileno(), start.err.fileno()))
    os.close(life)
    process.stdin = os.fdopen(hold, "wb")
    return process


def _imports(notebook: Path) -> list[ast.Import | ast.ImportFrom]:
    """Return the top-level import statements of the cells that are plain Python."""
    found: list[ast.Import | ast.ImportFrom] = []
    for cell in read_notebook(notebook).code:
        with suppress(SyntaxError):  # a cell with IPython magics
            found += [
                node
                for node in ast.parse(cell["source"]).body
                if isinstance(node, ast.Import | ast.ImportFrom)
            ]
    return found


def _import(statement: ast.Import | ast.ImportFrom) -> None:
    """Import a module unless that fails; modules beside the notebook are left to the notebook."""
    with suppress(ImportError):
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                import_module(alias.name)
        elif statement.module and not statement.level:
            module = import_module(statement.module)
            for alias in statement.names:
                getattr(module, alias.name, None)  # some modules import their names on first use


def main() -> None:
    """Warm up for the notebook and models on the command line, if any, and serve."""
    sys.path[:] = [
        place for place in sys.path if place not in ("", os.getcwd())
    ]  # as ipykernel's launcher does
    door = socket.socket(fileno=os.dup(0))
    if not sys.argv[1:]:
        serve(door, start_afresh)
        return
    warm_up(Path(sys.argv[1]), sys.argv[2:])
    serve(door, start_forked)


if __name__ == "__main__":
    main()
