"""A bundle, the runs that share a set of models: the unit of a sweep that travels to a machine.

`carry_out` starts `workbench.runs.bundle_process` where it is called: here, on a Dask worker, in a job of SLURM. What goes on
is written to the bundle's `state`, a file on the shared disk with one writer; a sweep ends its bundles through the file `stop`
beside it. No future is asked whether it runs, since those of Dask do not know.
"""

import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from workbench.atomic import make_folder, read_json
from workbench.errors import INTERRUPTED, OUR_FAULT, KernelDied, WorkbenchError
from workbench.runs.machine import cores
from workbench.runs.plans import RunPlan
from workbench.runs.supervise import ENVIRONMENT

NO_MORE, INTERRUPT = "start no more runs", "interrupt the runs"  # what the file `stop` may say


@dataclass(frozen=True)
class Ending:
    """How a run ended: its exit code, a message, seconds, whether it existed before, and the machine."""

    run_id: str
    exit_code: int
    message: str
    seconds: float = 0.0
    reused: bool = False
    where: str = ""


def ending_of(run_id: str, error: BaseException, seconds: float = 0.0) -> Ending:
    """Return the ending of a run for which an exception was raised, whatever its class."""
    if isinstance(error, KeyboardInterrupt):
        return Ending(run_id, INTERRUPTED, "interrupted", seconds)
    if isinstance(error, WorkbenchError):
        return Ending(run_id, error.exit_code, str(error), seconds)
    return Ending(run_id, OUR_FAULT, f"its executor raised {type(error).__name__}: {error}", seconds)


@dataclass(frozen=True)
class Bundle:
    """Runs to be done on one machine.

    Attributes:
        state: the file that says what goes on; `stop` is beside it.
        workers: runs at a time; None for one per core.
        answers: the folder in which packs are handed over; None if answers go to the default store.
        environment: variables of the processes, such as the GPUs that are visible.
    """

    name: str
    plans: tuple[RunPlan, ...]
    root: Path
    state: Path
    workers: int | None = None
    force: bool = False
    limit: float | None = None
    keep_going: bool = False
    answers: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def stop(self) -> Path:
        """The file that ends all bundles of a sweep."""
        return self.state.with_name("stop")


@dataclass(frozen=True)
class State:
    """What a bundle's state says: its machine, the runs in progress, and how runs ended."""

    where: str = ""
    running: tuple[str, ...] = ()
    endings: tuple[Ending, ...] = ()


def read_state(bundle: Bundle) -> State:
    """Return the state of a bundle; empty before it has begun."""
    content = read_json(bundle.state)
    endings = tuple(Ending(**each) for each in content.get("endings", ()))
    return State(content.get("where", ""), tuple(content.get("running", ())), endings)


def carry_out(bundle: Bundle) -> State:
    """Do the runs of a bundle on this machine, in a process of their own, and return how they ended.

    Raises:
        KernelDied: that process was killed.
    """
    if bundle.stop.exists():
        return State()
    workers = bundle.workers or cores()
    threads = {"OMP_NUM_THREADS": str(max(1, cores() // workers))}
    environment = {**threads, **os.environ, **bundle.environment, **ENVIRONMENT}
    make_folder(bundle.state.parent)
    with bundle.state.with_suffix(".log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "workbench.runs.bundle_process"],
            stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment, start_new_session=True,
        )  # fmt: skip
        assert process.stdin is not None
        try:
            with suppress(BrokenPipeError):  # it died at once; its status says so
                process.stdin.write(pickle.dumps((bundle, workers)))
                process.stdin.flush()
            process.wait()
        finally:
            with suppress(BrokenPipeError):
                process.stdin.close()  # if it is still at work, it interrupts its runs
            code = process.wait()
    if code:
        raise KernelDied(
            f"the process of the runs on {socket.gethostname()} ended with status {code}; "
            f"{bundle.state.with_suffix('.log')} may say why; start the sweep again"
        )
    return read_state(bundle)
