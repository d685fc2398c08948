"""The process of one run: execute one notebook with papermill, write the page, say what happened.

Started by `workbench.runs.supervise` as `python -m workbench.runs.child SPEC.json`, in the run's folder and in its own
process group. It ends itself and the kernel when its standard input closes, that is when the parent is gone. It says
what it saw in `result.json`; whether the run succeeded is for the parent to judge.
"""

import errno
import json
import os
import resource
import shutil
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbconvert import HTMLExporter
from papermill import execute_notebook
from papermill.exceptions import PapermillExecutionError

from workbench.runs.page import page


class PrivateKernel(AsyncKernelManager):
    """This very Python, over sockets in the run's own runtime folder: no port to collide on, no other kernel spec."""

    def __init__(self, **settings: Any) -> None:
        private = os.environ[
            "JUPYTER_RUNTIME_DIR"
        ]  # the default, `kernel-ipc` in the working folder, is everybody's
        mine = {"transport": "ipc", "ip": f"{private}/k", "connection_file": f"{private}/kernel.json"}
        super().__init__(**{**settings, **mine})

    @property
    def kernel_spec(self) -> KernelSpec:
        """The interpreter that runs this process, whatever kernels are installed."""
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=command, display_name="Python 3", language="python")

    async def _async_launch_kernel(self, kernel_cmd: list[str], **settings: Any) -> None:
        await super()._async_launch_kernel(kernel_cmd, **settings)
        # The kernel leads a session of its own; whoever ends this run has to know it.
        pid = getattr(self.provisioner, "pid", None)
        Path(os.environ["JUPYTER_RUNTIME_DIR"], "kernel.pid").write_text(str(pid), encoding="ascii")


def execute(spec: dict[str, Any]) -> dict[str, Any]:
    """Run the notebook of `spec` into `notebook.ipynb` here, and return what was seen."""
    result: dict[str, Any] = {"seen": "end"}
    try:
        execute_notebook(
            spec["notebook"],
            "notebook.ipynb",
            parameters=spec["parameters"],
            kernel_name="python3",
            language="python",
            kernel_manager_class=PrivateKernel,
            progress_bar=False,
            log_output=False,
            stdout_file=sys.stdout,
            stderr_file=sys.stderr,
            start_timeout=120,
            cwd=spec["cwd"],
        )
    except PapermillExecutionError as error:
        result = {"seen": "error", "message": f"{error.ename}: {error.evalue}"}
    except RuntimeError as error:  # nbclient's word for a kernel that died or never answered
        result = {"seen": "dead kernel", "message": str(error)}
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS):
            raise
        result = {"seen": "disk", "message": str(error)}
    # Linux counts kilobytes, macOS bytes
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {**result, "peak_memory_bytes": peak}


def write_report(title: str) -> None:
    """Render `notebook.ipynb` as one page that asks nothing of the network."""
    notebook = nbformat.read("notebook.ipynb", as_version=4)
    body, _ = HTMLExporter(template_name="basic").from_notebook_node(notebook)
    Path("report.html").write_text(
        page(title, f'<main class="notebook">{body}</main>', code=True), encoding="utf-8"
    )


def _end_with_parent() -> None:
    os.read(0, 1)  # not sys.stdin: its lock, held by a thread, makes the interpreter's end fatal
    private = Path(os.environ["JUPYTER_RUNTIME_DIR"])
    with suppress(OSError, ValueError):
        os.killpg(int((private / "kernel.pid").read_text(encoding="ascii")), signal.SIGKILL)
    shutil.rmtree(private, ignore_errors=True)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def main() -> None:
    """Read the spec, run, write `report.html` and the result."""
    spec = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    result = execute(spec)
    if Path("notebook.ipynb").exists() and result["seen"] != "disk":
        write_report(spec["title"])
    Path(spec["result"]).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
