"""The process of one run: execute one notebook with papermill, write the page, say what happened.

Started by `workbench.runs.supervise` as `python -m workbench.runs.child ORDERS.json`, or forked from a warm parent,
in the run's folder and in its own process group. It ends itself and the kernel when its standard input closes, that is
when the parent is gone. It says what it saw in `result.json`; whether the run succeeded is for the parent to judge.
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
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from workbench.runs.kernels import WaitingKernel, manager_for
from workbench.runs.notebooks import read_notebook
from workbench.runs.processes import adopt_orphans, end_below
from workbench.runs.verdict import failure_in


@contextmanager
def _without(module: str) -> Iterator[None]:
    """For what is imported meanwhile, an optional module is not there."""
    there = sys.modules.get(module)
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[module]
        if there is not None:
            sys.modules[module] = there


# jsonschema's grammar of web addresses takes a second to build, and nothing here checks one
with _without("rfc3987_syntax"):
    import nbformat
    from papermill import execute_notebook
    from papermill.exceptions import PapermillExecutionError
    from papermill.execute import remove_error_markers

_DISK = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS)


def execute(orders: dict[str, Any], waiting: WaitingKernel | None = None) -> dict[str, Any]:
    """Run the notebook of `orders` into `notebook.ipynb` here, and return what was seen.

    Raises:
        OSError: the disk did not take it.
    """
    try:
        execute_notebook(
            orders["notebook"],
            "notebook.ipynb",
            parameters=orders["parameters"],
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
        if failure_in(read_notebook(Path("notebook.ipynb"))) is None:  # papermill knows no raises-exception
            _drop_error_markers(Path("notebook.ipynb"))
            return {"seen": "end"}
        return {"seen": "error", "message": f"{error.ename}: {error.evalue}"}
    except RuntimeError as error:  # nbclient's word for a kernel that died or never answered
        return {"seen": "dead kernel", "message": str(error)}
    return {"seen": "end"}


def _drop_error_markers(path: Path) -> None:
    """Take out the cells in which papermill calls an allowed error the notebook's end."""
    notebook = remove_error_markers(nbformat.read(path, as_version=4))
    path.write_text(nbformat.writes(notebook), encoding="utf-8")


@cache
def _exporter() -> Any:
    """What renders notebooks; what it compiles and cleans is kept in a process, and in those forked from it."""
    nbconvert = import_module("nbconvert")  # half a second, which a kernel does not wait for
    found = nbconvert.HTMLExporter(template_name="basic", sanitize_html=True)
    found.register_filter("clean_html", import_module("workbench.runs.sanitised").clean)
    return found


def prepare_report(path: str | Path) -> None:
    """Import and compile what the report of a notebook will need, and render its sources."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    _exporter().from_notebook_node(notebook)


def write_report(title: str) -> None:
    """Render `notebook.ipynb` as one page that asks nothing of the network."""
    notebook = nbformat.read("notebook.ipynb", as_version=4)
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        for facts in (output.get("metadata", {}), *output.get("metadata", {}).values()):
            for name in ("width", "height"):  # which nbconvert does not quote
                if isinstance(facts, dict) and not isinstance(facts.get(name, 0), int):
                    del facts[name]
    body, _ = _exporter().from_notebook_node(notebook)
    markup, pages = import_module("markupsafe"), import_module("workbench.runs.page")
    whole = pages.render("report", title=title, notebook=markup.Markup(body))
    Path("report.html").write_text(whole, encoding="utf-8")


def _end_with_parent() -> None:
    os.read(0, 1)  # not sys.stdin: its lock, held by a thread, makes the interpreter's end fatal
    end_below(os.getpid())
    private = Path(os.environ["JUPYTER_RUNTIME_DIR"])
    with suppress(OSError, ValueError):
        os.killpg(int((private / "kernel.pid").read_text(encoding="ascii")), signal.SIGKILL)
    shutil.rmtree(private, ignore_errors=True)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def carry_out(path: Path, waiting: WaitingKernel | None = None) -> None:
    """Read the orders, run, write `report.html` and the result."""
    orders = json.loads(path.read_text(encoding="utf-8"))
    adopt_orphans()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    preparing = threading.Thread(target=prepare_report, args=(orders["notebook"],), daemon=True)
    try:
        if waiting is None:  # else it was forked from a process that has prepared it
            preparing.start()
        result = execute(orders, waiting)
        end_below(os.getpid())
        if waiting is None:
            preparing.join()
        if Path("notebook.ipynb").exists():
            write_report(orders["title"])
    except OSError as error:
        if error.errno not in _DISK:
            raise
        result = {"seen": "disk", "message": str(error)}
    # Linux counts kilobytes, macOS bytes
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    Path(orders["result"]).write_text(json.dumps({**result, "peak_memory_bytes": peak}), encoding="utf-8")


if __name__ == "__main__":
    carry_out(Path(sys.argv[1]))
