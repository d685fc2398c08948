"""Many runs of one notebook: planned from a file, done in bundles that share their models, and resumed where they stopped.

A sweep's own folder is `root/sweeps/<name>/`: `sweep.json` (how each run ended), `runs.parquet` (one row per run with
parameters and metrics) and `index.html`; `work-*` says what its bundles do now, and why one broke off. The runs themselves
are stored like single runs, and shared with them.
"""

import json
import os
import shutil
import socket
from concurrent.futures import Executor
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from time import monotonic

import pandas as pd

from workbench.atomic import make_folder, write_atomically
from workbench.errors import StaleRun
from workbench.paths import expanded
from workbench.runs.bundles import Bundle, Ending
from workbench.runs.executors import executor_on, expect_place
from workbench.runs.machine import visible_gpus
from workbench.runs.node_stores import lend, merge, own_store
from workbench.runs.plans import RunPlan
from workbench.runs.progress import Progress
from workbench.runs.results import write_table
from workbench.runs.side_by_side import Watch, do_bundles
from workbench.runs.sweep_file import Part, SweepFile, bundled, plan_sweep
from workbench.runs.sweep_page import write_sweep_page


@dataclass(frozen=True)
class Sweep:
    """A sweep that ended: its folder, how each run ended, and the number of runs in each state of `Progress`."""

    folder: Path
    endings: list[Ending]
    counts: dict[str, int]
    seconds: float

    @property
    def exit_code(self) -> int:
        """The highest exit code of its runs; 0 if all succeeded."""
        return max((ending.exit_code for ending in self.endings), default=0)

    def table(self) -> pd.DataFrame:
        """Return one row per finished run, with parameters and metrics."""
        return pd.read_parquet(self.folder / "runs.parquet")


def sweep(
    path: Path | str | SweepFile,
    *,
    root: Path | str = Path("runs"),
    workers: int | None = None,
    on: str = "local",
    part: Part | None = None,
    executor: Executor | None = None,
    force: bool = False,
    keep_going: bool = False,
    watch: Watch = lambda _: None,
) -> Sweep:
    """Execute the runs of a sweep that do not exist yet.

    Args:
        path: The sweep's file, or its content (as `read_preset(NAME).sweep_file(NOTEBOOK)` gives).
        root: The folder of all runs; on a disk that all machines share.
        workers: Runs at a time on a machine; by default the file's number, else one per core of the allocation.
        on: "local", "dask:ADDRESS" (of a scheduler) or "slurm".
        part: Only these runs, for a job array; the sweep without it then brings all parts together.
        executor: Executes the bundles, instead of `on`; it is not shut down.
        force: Run all again.
        keep_going: Start the remaining runs even after one has failed.
        watch: Called with the state of the sweep several times a second.

    Raises:
        BadInput, UnknownName: before anything starts.
        StoreFailed: the sweep's files could not be written.
        KeyboardInterrupt: after the runs in progress have been stopped; the same sweep, started again, resumes from there.
    """
    clock = monotonic()
    expect_place(on)
    root = expanded(root).absolute()
    with (
        own_store() if part else nullcontext()
    ):  # planning on a node does not touch a store on the shared disk
        begun = _begin(path, root, part, force=force)
    is_here = on == "local" and executor is None
    usual = Bundle(
        "", (), root, begun.folder / f"work-{socket.gethostname()}-{os.getpid()}", workers or begun.file.workers, force,
        begun.file.limit, keep_going, None if is_here and part is None else begun.answers,
    )  # fmt: skip
    shutil.rmtree(usual.state, ignore_errors=True)  # of an earlier sweep by this process
    one_service = is_here and not visible_gpus()  # it lets the least used model go when memory is short
    groups = [[plan for group in begun.todo for plan in group]] if one_service else begun.todo
    bundles = [_bundle(usual, group, lends=part is None) for group in groups if group]
    try:
        if bundles:
            place = nullcontext(executor) if executor else executor_on(on, begun.file.resources, len(bundles))
            with place as machines:
                do_bundles(machines, bundles, begun.progress, watch)
    finally:
        begun.progress.running = {}
        watch(begun.progress)
        done = _keep(begun, monotonic() - clock)
        if part is None:
            merge(begun.answers)
    if not begun.progress.failed:
        shutil.rmtree(usual.state, ignore_errors=True)
    return done


@dataclass(frozen=True)
class _Begun:
    """A planned sweep: its folder, that of the packs of all its parts, its state, and the runs to be done by set of models."""

    name: str
    file: SweepFile
    root: Path
    folder: Path
    answers: Path
    progress: Progress
    todo: list[list[RunPlan]]


def _begin(path: Path | str | SweepFile, root: Path, part: Part | None, *, force: bool) -> _Begun:
    name, file, plans = plan_sweep(path)
    groups = bundled(plans, part)
    progress = Progress([plan for group in groups for plan in group])
    if not force:
        there = [ending for plan in progress.plans if (ending := _there(plan, root))]
        progress.endings = {ending.run_id: ending for ending in there}
    todo = [[plan for plan in group if plan.run_id not in progress.endings] for group in groups]
    whole = root / "sweeps" / name
    folder = whole if part is None else whole.with_name(f"{name}.part-{part.number}-of-{part.of}")
    make_folder(folder)
    return _Begun(name, file, root, folder, whole / "answers", progress, todo)


def _there(plan: RunPlan, root: Path) -> Ending | None:
    """Return how a run ended before this sweep, if it did."""
    try:
        if plan.finished(root):
            return Ending(plan.run_id, 0, "nothing to do: it was there", reused=True)
    except StaleRun as error:
        return Ending(plan.run_id, error.exit_code, str(error), reused=True)
    return None


def _bundle(usual: Bundle, plans: list[RunPlan], *, lends: bool) -> Bundle:
    """Return a bundle named after its models; with `lends`, the answers stored here travel with it."""
    models = sorted({model for plan in plans for model in plan.models})
    name = f"bundle-{sha256(json.dumps(models).encode()).hexdigest()[:8]}"
    if usual.answers is not None and lends:
        lend(usual.answers, name, models)
    return replace(usual, name=name, plans=tuple(plans), state=usual.state / f"{name}.json")


def _keep(begun: _Begun, seconds: float) -> Sweep:
    """Write `sweep.json`, the table of runs and the page."""
    progress = begun.progress
    done = Sweep(begun.folder, list(progress.endings.values()), progress.counts(), round(seconds, 3))
    runs = []
    for plan in progress.plans:
        ending = progress.endings.get(plan.run_id)
        place = os.path.relpath(plan.folder(begun.root), done.folder)
        runs.append({"run_id": plan.run_id, "folder": place, "given": plan.given, "models": plan.models})
        runs[-1] |= {"state": progress.state(plan.run_id), **(asdict(ending) if ending else {})}
    content = {
        "format": 1,
        "name": begun.name,
        "file": begun.file.model_dump(mode="json", exclude_defaults=True),
        "counts": done.counts,
        "exit_code": done.exit_code,
        "seconds": done.seconds,
        "runs": runs,
    }
    write_atomically(done.folder / "sweep.json", json.dumps(content, indent=1, ensure_ascii=False))
    write_table(done.folder)
    write_sweep_page(done.folder)
    return done
