"""Runs done side by side in bundles, watched while they go on: those of a sweep, and those of several notebooks."""

import os
import shutil
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from pathlib import Path

from workbench.atomic import make_folder, write_atomically
from workbench.paths import expanded
from workbench.runs.bundles import INTERRUPT, NO_MORE, Bundle, Ending, State, carry_out, ending_of
from workbench.runs.plans import RunPlan
from workbench.runs.progress import Progress

Watch = Callable[[Progress], None]
_PATIENCE = 60.0  # seconds for interrupted bundles to end


def run_all(
    plans: Sequence[RunPlan],
    *,
    root: Path | str = Path("runs"),
    workers: int | None = None,
    force: bool = False,
    keep_going: bool = False,
    limit: float | None = None,
    watch: Watch = lambda _: None,
) -> list[Ending]:
    """Execute planned runs, of any notebooks, on this machine with one model service; finished ones are not repeated.

    Args:
        workers: Runs at a time; None for one per core.
        limit: Time limit of each run in seconds.
        watch: Called with the state of the runs several times a second.

    Returns:
        How each run ended, in the order of the plans; without those that were not started because another one failed.

    Raises:
        KeyboardInterrupt: after the runs in progress have been stopped.
    """
    root = expanded(root).absolute()
    state = root / ".work" / f"{socket.gethostname()}-{os.getpid()}"
    shutil.rmtree(state, ignore_errors=True)
    bundle = Bundle("all", tuple(plans), root, state / "all.json", workers, force, limit, keep_going)
    progress = Progress(list(plans))
    with ThreadPoolExecutor(1) as machine:
        do_bundles(machine, [bundle], progress, watch)
    watch(progress)
    if not progress.failed:
        shutil.rmtree(state, ignore_errors=True)
    return [progress.endings[plan.run_id] for plan in plans if plan.run_id in progress.endings]


def do_bundles(machines: Executor, bundles: list[Bundle], progress: Progress, watch: Watch) -> None:
    """Have the bundles done, and stop them after a failure (unless they keep going) or an interrupt."""
    pending: dict[Future[State], Bundle] = {}
    try:
        for bundle in bundles:
            pending[machines.submit(carry_out, bundle)] = bundle
        while pending:
            wait(pending, timeout=0.25, return_when=FIRST_COMPLETED)
            _take_endings(pending, bundles, progress)
            watch(progress)
            if progress.failed and not bundles[0].keep_going:
                _stop(bundles[0], pending, NO_MORE)
    except KeyboardInterrupt:
        _stop(bundles[0], pending, INTERRUPT)
        wait(pending, timeout=_PATIENCE)
        raise
    finally:
        _take_endings(pending, bundles, progress)


def _stop(bundle: Bundle, pending: "dict[Future[State], Bundle]", what: str) -> None:
    """Tell all bundles; one that has begun is waited for (a cancelled future of Dask would leave it at work)."""
    make_folder(bundle.stop.parent)
    write_atomically(bundle.stop, what)
    for future in [future for future, each in pending.items() if not each.state.exists()]:
        future.cancel()


def _take_endings(pending: "dict[Future[State], Bundle]", bundles: list[Bundle], progress: Progress) -> None:
    """Read how runs ended; if a bundle broke off, the runs that it was doing, or else all that it had left, ended as it did."""
    ended = [future for future in pending if future.done()]
    progress.look_at(bundles)
    for future in ended:
        bundle = pending.pop(future)
        error = None if future.cancelled() else future.exception()
        if error is not None:
            left = [plan.run_id for plan in bundle.plans if plan.run_id not in progress.endings]
            failed = [run_id for run_id in left if run_id in progress.running] or left
            progress.endings |= {run_id: ending_of(run_id, error) for run_id in failed}
