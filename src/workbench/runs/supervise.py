"""Run one notebook in its own process, supervise it, and store the result (`workbench.runs.folders`). Unix only."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import IO, Any, Protocol

from workbench.atomic import read_json, write_atomically
from workbench.errors import StoreFailed
from workbench.paths import expanded
from workbench.runs.claims import claimed
from workbench.runs.folders import digests, publish, set_aside
from workbench.runs.notebooks import Notebook
from workbench.runs.outcome import Outcome, error_of, judge
from workbench.runs.plans import RunPlan, plan
from workbench.runs.processes import end_below, end_marked
from workbench.runs.run_id import surroundings
from workbench.store import default_path, settle

ENVIRONMENT = {
    "MPLBACKEND": "Agg",
    "PYTHONHASHSEED": "0",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "WORKBENCH_BATCH": "1",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
}
_PATIENCE = 5.0  # seconds between SIGTERM and SIGKILL


class Process(Protocol):
    """A started process: the part of the interface of `subprocess.Popen` that is needed. It ends when its `stdin` is closed."""

    pid: int
    returncode: int | None
    stdin: IO[bytes] | None

    def poll(self) -> int | None:
        """Return the exit code; None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the process to end."""


@dataclass(frozen=True)
class Start:
    """How to start the process of a run: its orders, where its output goes, its folder and environment."""

    orders: Path
    out: IO[bytes]
    err: IO[bytes]
    cwd: Path
    environment: Mapping[str, str]


def start_afresh(start: Start) -> Process:
    """Start the process of a run as a new Python interpreter."""
    return subprocess.Popen(
        [sys.executable, "-m", "workbench.runs.child", str(start.orders)],
        stdin=subprocess.PIPE, stdout=start.out, stderr=start.err, cwd=start.cwd, env=dict(start.environment),
        start_new_session=True,
    )  # fmt: skip


@dataclass(frozen=True)
class Supervision:
    """How a run is supervised: its time limit in seconds, how its process is started, and whether to interrupt it.

    `stopped` is asked several times a second.
    """

    limit: float | None = None
    start: Callable[[Start], Process] = start_afresh
    stopped: Callable[[], bool] = lambda: False


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, its manifest (`run.json`), and whether it existed before."""

    folder: Path
    manifest: dict[str, Any]
    reused: bool = False

    @property
    def run_id(self) -> str:
        """The run's name: a slug and a hash of everything that can change its results."""
        return str(self.manifest["run_id"])

    @property
    def metrics(self) -> dict[str, Any]:
        """What the notebook recorded with `workbench.record`."""
        return read_json(self.folder / "metrics.json")

    @property
    def message(self) -> str:
        """One sentence for display."""
        if self.reused:
            return f"already finished: {self.folder} (--force runs it again)"
        return f"done in {self.manifest['seconds']:.1f} s: {self.folder}"


def run(
    notebook: Notebook | Path | str,
    parameters: Mapping[str, Any] | None = None,
    *,
    root: Path | str = Path("runs"),
    force: bool = False,
    limit: float | None = None,
) -> Run:
    """Execute a notebook with parameters and store the result in `root/<notebook>/<run_id>/`.

    Args:
        notebook: An .ipynb file with a cell tagged `parameters`, or what `read_notebook` read of it; it runs in its own folder.
        parameters: Values of the declared types (`workbench.runs.parse` converts text from a command line).
        root: The folder of all runs.
        force: Run again even if the same run exists; it is replaced once the new one has succeeded.
        limit: Time limit in seconds.

    Raises:
        BadInput: before anything starts: unknown or mistyped parameters, no `parameters` cell, the same run in progress.
        StaleRun: the same run is finished, but its models' names stand for other weights now.
        NotebookFailed: a cell raised. If it raised one of workbench's own errors, that error is raised, with its exit code.
        KernelDied, Incomplete, TimeLimit, StoreFailed: as named. The message names the folder of the failed run.
        KeyboardInterrupt: after the run's processes have been killed and its folder stored.
    """
    return run_plan(plan(notebook, parameters), root=root, force=force, how=Supervision(limit))


def run_plan(
    planned: RunPlan,
    *,
    root: Path | str,
    force: bool = False,
    wait: bool = False,
    how: Supervision = Supervision(),
) -> Run:
    """Execute a planned run as `run` does.

    Args:
        planned: The run.
        root: The folder of all runs.
        force: As `run`.
        wait: The plan has been waiting, perhaps elsewhere: check that it still holds, and wait for another process that is
            executing the same run.
        how: Its supervision.

    Raises:
        BadInput: with `wait`, the package changed since planning; without it, the same run is in progress elsewhere.
        StaleRun: without `force`, the run is finished, but used other weights than its models' names stand for now.
        WorkbenchError, KeyboardInterrupt: as `run`.
    """
    root = expanded(root).absolute()
    final = planned.folder(root)
    try:
        if not force and (manifest := planned.finished(root)):
            return Run(final, manifest, reused=True)
        if wait:
            planned.still_holds()
        final.parent.mkdir(parents=True, exist_ok=True)
        with claimed(final.parent, planned.run_id, wait=wait) as part:
            if not force and (manifest := planned.finished(root)):  # another process did it meanwhile
                return Run(final, manifest, reused=True)
            return _run_in(part, final, planned, how)
    except OSError as error:
        raise StoreFailed(
            f"could not store the run in {final.parent}: {error}; free some space or choose another root"
        ) from error


def _run_in(part: Path, final: Path, planned: RunPlan, how: Supervision) -> Run:
    began, clock = datetime.now(UTC), monotonic()
    outcome, seen = _supervise(part, planned, how)
    parameters = planned.parameters
    manifest = {
        "format": 2,
        "notebook": planned.notebook.stem,
        "notebook_path": str(planned.notebook),
        **planned.spec,
        "digests": planned.digests(),  # now: a model may have been downloaded during the run
        "changed_meanwhile": planned.reads.changed(),
        "given": planned.given,
        "run_id": planned.run_id,
        "status": outcome.status,
        "exit_code": outcome.exit_code,
        "error": outcome.error,
        "allowed_errors": list(outcome.allowed_errors),
        "failed_before": sorted(path.name for path in final.parent.glob("*.failed-*")),
        "started": began.isoformat(timespec="seconds"),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(monotonic() - clock, 3),
        "peak_memory_bytes": seen.get("peak_memory_bytes"),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "seeds": {name: value for name, value in parameters.items() if re.search(r"(^|_)seeds?$", name)},
        "dtype": parameters.get("dtype"),
        **surroundings(),
        "facts": read_json(part / "facts.json"),
        "answer": outcome.answer,
        "files": digests(part),
    }
    write_atomically(part / "run.json", json.dumps(manifest, indent=1, ensure_ascii=False))
    if outcome.status != "done":
        kept = set_aside(part, final)
        if outcome.status == "interrupted":
            raise KeyboardInterrupt
        raise error_of(planned.notebook.name, outcome, kept)
    publish(part, final)
    return Run(final, manifest)


def _supervise(part: Path, planned: RunPlan, how: Supervision) -> tuple[Outcome, dict[str, Any]]:
    """Start the child, wait for it, kill everything it left behind, and judge; also return what the child observed."""
    short = "/tmp" if Path("/tmp").is_dir() else None  # a socket's path is limited to about 100 characters
    with tempfile.TemporaryDirectory(prefix="wb-", dir=short, ignore_cleanup_errors=True) as name:
        private = Path(name)
        verdict = None
        with (part / "stdout.log").open("wb") as out, (part / "stderr.log").open("wb") as err:
            environment = {**_inherited(), "WORKBENCH_RUN": str(part), "JUPYTER_RUNTIME_DIR": name}
            environment["IPYTHONDIR"] = str(private / "ipython")
            environment["WORKBENCH_STORE"] = str(default_path())  # absolute: the notebook runs elsewhere
            orders = _write_orders(private, planned)
            process = how.start(Start(orders, out, err, part, environment))
        try:
            _await(process, how)
        except subprocess.TimeoutExpired:
            message = f"not done after {how.limit:g} s"
            verdict = Outcome("timeout", 124, {"type": "TimeLimit", "message": message})
        except KeyboardInterrupt:
            verdict = Outcome("interrupted", 130, {"type": "KeyboardInterrupt", "message": "interrupted"})
        _end(process, private / "kernel.pid")
        end_marked("WORKBENCH_RUN", str(part))
        settle()
        seen = read_json(private / "result.json")
        code = process.returncode if process.returncode is not None else 1
        return verdict or judge(code, seen, part / "notebook.ipynb"), seen


def _await(process: Process, how: Supervision) -> None:
    """Wait for a process to end; raise TimeoutExpired after the limit, and KeyboardInterrupt when the run is stopped."""
    until = math.inf if how.limit is None else monotonic() + how.limit
    while process.poll() is None:
        if how.stopped():
            raise KeyboardInterrupt
        if (left := until - monotonic()) <= 0:
            raise subprocess.TimeoutExpired("the run", how.limit or 0.0)
        with suppress(subprocess.TimeoutExpired):
            process.wait(min(left, 0.25))


def _inherited() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key != "PYTHONSTARTUP"} | ENVIRONMENT


def _write_orders(private: Path, planned: RunPlan) -> Path:
    (private / "notebook.ipynb").write_text(planned.source, encoding="utf-8")
    orders = {
        "notebook": str(private / "notebook.ipynb"),
        "title": planned.notebook.stem,
        "models": planned.models,
        "parameters": planned.given,
        "cwd": str(planned.notebook.parent),
        "result": str(private / "result.json"),
    }
    (private / "orders.json").write_text(json.dumps(orders), encoding="utf-8")
    return private / "orders.json"


def _end(process: Process, kernel: Path) -> None:
    """End the process groups of the child and of the kernel, with SIGTERM before SIGKILL; no effect on what has ended."""
    if process.poll() is None:
        end_below(process.pid)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE)
    groups = [process.pid]
    with suppress(OSError, ValueError):
        groups.append(int(kernel.read_text(encoding="ascii")))
    for group in groups:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    if process.stdin:
        process.stdin.close()
    process.wait()
