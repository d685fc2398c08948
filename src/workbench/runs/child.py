"""The process of one run: execute one notebook with papermill, write its HTML report, and record how it ended.

`workbench.runs.supervise` starts it as `python -m workbench.runs.child ORDERS.json`, or `workbench.runs.fork_server` forks
it, in the run's folder and in its own process group. When its standard input closes, which means that the parent is gone, it
kills itself and the kernel. It writes what it observed to `result.json`; the parent decides whether the run succeeded.
"""

import errno
import json
import os
import resource
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any

from workbench.runs.kernels import WaitingKernel, manager_for
from workbench.runs.notebook_page import prepare_report, write_report
from workbench.runs.notebooks import read_notebook
from workbench.runs.outcome import failure_in
from workbench.runs.processes import adopt_orphans, end_below


@contextmanager
def _without(module: str) -> Iterator[None]:
    """Make imports inside the context behave as if an optional module were not installed."""
    there = sys.modules.get(module)
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[module]
        if there is not None:
            sys.modules[module] = there


# building jsonschema's grammar of web addresses takes a second, and nothing here validates one
with _without("rfc3987_syntax"):
    import nbformat
    from papermill import execute_notebook
    from papermill.engines import NBClientEngine, NotebookExecutionManager, papermill_engines
    from papermill.exceptions import PapermillExecutionError
    from papermill.execute import remove_error_markers

_DISK = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS)
_ENGINE = "sparing"  # its name in papermill's registry
_BETWEEN_WRITES = 10.0  # seconds


class _SparingEngine(NBClientEngine):
    """Writes the executed notebook now and then and at the end; papermill's own writes it twice for each cell."""

    @classmethod
    def execute_managed_notebook(cls, nb_man: NotebookExecutionManager, *words: Any, **settings: Any) -> Any:
        """Execute the notebook as NBClientEngine does."""
        write, written = nb_man.save, monotonic()

        def write_sparingly(**_: Any) -> None:
            nonlocal written
            if monotonic() - written > _BETWEEN_WRITES:
                write()
                written = monotonic()

        nb_man.save = write_sparingly
        try:
            return super().execute_managed_notebook(nb_man, *words, **settings)
        finally:
            nb_man.save = write


papermill_engines.register(_ENGINE, _SparingEngine)


def execute(orders: dict[str, Any], waiting: WaitingKernel | None = None) -> dict[str, Any]:
    """Execute the notebook named in `orders`, write it to `notebook.ipynb` in the working folder, and return what was observed.

    Raises:
        OSError: the file could not be written.
    """
    try:
        execute_notebook(
            orders["notebook"],
            "notebook.ipynb",
            parameters=orders["parameters"],
            engine_name=_ENGINE,
            kernel_name="python3",
            language="python",
            kernel_manager_class=manager_for(waiting),
            progress_bar=False,
            log_output=False,
            stdout_file=sys.stdout,
            stderr_file=sys.stderr,
            start_timeout=120,
            cwd=orders["cwd"],
        )
    except PapermillExecutionError as error:
        if failure_in(read_notebook(Path("notebook.ipynb"))) is None:  # papermill raises for allowed ones too
            _drop_error_markers(Path("notebook.ipynb"))
            return {"seen": "end"}
        return {"seen": "error", "message": f"{error.ename}: {error.evalue}"}
    except RuntimeError as error:  # nbclient raises it for a kernel that died or did not start
        return {"seen": "dead kernel", "message": str(error)}
    return {"seen": "end"}


def _drop_error_markers(path: Path) -> None:
    """Remove the cells in which papermill reports an allowed error as the end of the notebook."""
    notebook = remove_error_markers(nbformat.read(path, as_version=4))
    path.write_text(nbformat.writes(notebook), encoding="utf-8")


def _end_with_parent() -> None:
    os.read(0, 1)  # not sys.stdin: a thread that holds its lock makes interpreter shutdown fail
    end_below(os.getpid())
    private = Path(os.environ["JUPYTER_RUNTIME_DIR"])
    with suppress(OSError, ValueError):
        os.killpg(int((private / "kernel.pid").read_text(encoding="ascii")), signal.SIGKILL)
    shutil.rmtree(private, ignore_errors=True)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def carry_out(path: Path, *, forks: bool = False) -> None:
    """Read the orders, execute the notebook, and write `report.html` and the result; `forks`: fork the kernel, too."""
    waiting = WaitingKernel() if forks else None  # before any thread is started
    orders = json.loads(path.read_text(encoding="utf-8"))
    adopt_orphans()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    preparing = threading.Thread(target=prepare_report, daemon=True)
    try:
        if not forks:  # else the fork server has prepared it
            preparing.start()
        result = execute(orders, waiting)
        end_below(os.getpid())
        if not forks:
            preparing.join()
        if Path("notebook.ipynb").exists():
            write_report(orders["title"], orders["models"])
    except OSError as error:
        if error.errno not in _DISK:
            raise
        result = {"seen": "disk", "message": str(error)}
    # ru_maxrss is in kilobytes on Linux, in bytes on macOS
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    Path(orders["result"]).write_text(json.dumps({**result, "peak_memory_bytes": peak}), encoding="utf-8")


if __name__ == "__main__":
    carry_out(Path(sys.argv[1]))
