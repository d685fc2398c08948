"""The process in which the runs of a bundle are done; `workbench.runs.bundles` starts it and puts the bundle on its input.

It starts one model service of its own, so that each model is read once, if at all, and forks the runs. When its input ends,
the process that waits for it has died, and the runs are interrupted.

On a machine that shares its disk with others, answers go to a store of its own (`workbench.runs.node_stores`).
"""

import json
import os
import pickle
import socket
import sys
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import asdict
from threading import Lock, Thread
from time import monotonic

from workbench.atomic import write_atomically
from workbench.errors import WorkbenchError
from workbench.runs import fork_server
from workbench.runs.bundles import INTERRUPT, Bundle, Ending, ending_of
from workbench.runs.machine import cores
from workbench.runs.node_stores import hand_over, own_store, packs_for
from workbench.runs.plans import RunPlan
from workbench.runs.supervise import Supervision, run_plan, start_afresh
from workbench.service.private import private_service

_PATIENCE = 20.0  # seconds for interrupted runs to be stored


class _Work:
    """The runs of a bundle, in progress in this process."""

    def __init__(self, bundle: Bundle, workers: int) -> None:
        self.bundle, self._workers = bundle, workers
        self._running: list[str] = []
        self._endings: list[Ending] = []
        self._ahead: dict[str, tuple[str, ...]] = {}  # runs that are the first with their models
        self._known: set[tuple[str, ...]] = set()  # sets of models of which a run has begun
        self._parent_is_gone = False
        self._lock = Lock()
        gpus = os.environ.get("CUDA_VISIBLE_DEVICES")
        self._where = socket.gethostname() + (f", GPU {gpus}" if gpus else "")
        Thread(target=self._watch_parent, daemon=True).start()

    def go_through(self) -> None:
        """Do the runs, as many at a time as there are workers, until all are done or an end is asked for."""
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="run")
        waiting = list(self.bundle.plans)
        pending: dict[Future[Ending], RunPlan] = {}
        interrupted_at = None
        while (waiting or pending) and (interrupted_at is None or monotonic() - interrupted_at < _PATIENCE):
            while len(pending) < self._workers and (plan := self._next(waiting)):
                pending[pool.submit(self._run, plan)] = plan
            for future in wait(pending, timeout=0.25, return_when=FIRST_COMPLETED).done:
                self._end(pending.pop(future), future)
            if self._asked() or (self._has_failed() and not self.bundle.keep_going):
                waiting.clear()
            if self._is_interrupted():
                interrupted_at = interrupted_at or monotonic()

    def _next(self, waiting: list[RunPlan]) -> RunPlan | None:
        """Take the next run; others wait for the first with their models, whose answers they share, while the models compute."""
        for plan in waiting:
            if plan.models not in self._ahead.values():
                waiting.remove(plan)
                if plan.models and plan.models not in self._known:
                    self._ahead[plan.run_id] = plan.models
                self._known.add(plan.models)
                return plan
        return None

    def _run(self, plan: RunPlan) -> Ending:
        began = monotonic()
        with self._lock:
            self._running.append(plan.run_id)
            self._write()
        start = fork_server.start_forked if fork_server.CAN_FORK else start_afresh
        try:
            done = run_plan(
                plan,
                root=self.bundle.root,
                force=self.bundle.force,
                wait=True,
                how=Supervision(self.bundle.limit, start, self._is_interrupted),
            )
        except (WorkbenchError, KeyboardInterrupt) as error:
            return ending_of(plan.run_id, error, round(monotonic() - began, 3))
        return Ending(plan.run_id, 0, done.message, round(monotonic() - began, 3), done.reused, self._where)

    def _end(self, plan: RunPlan, future: "Future[Ending]") -> None:
        run_id, error = plan.run_id, future.exception()
        self._ahead.pop(run_id, None)
        with self._lock:
            self._running = [each for each in self._running if each != run_id]
            self._endings.append(ending_of(run_id, error) if error else future.result())
            self._write()
        if self.bundle.answers is not None:
            hand_over(self.bundle.answers, self.bundle.name)

    def _write(self) -> None:
        if self._parent_is_gone:  # somebody else may do these runs by now, and tell about them
            return
        content = {
            "where": self._where,
            "running": self._running,
            "endings": list(map(asdict, self._endings)),
        }
        write_atomically(self.bundle.state, json.dumps(content, ensure_ascii=False))

    def _has_failed(self) -> bool:
        return any(ending.exit_code for ending in self._endings)

    def _asked(self) -> str:
        if self._parent_is_gone:
            return INTERRUPT
        try:
            return self.bundle.stop.read_text(encoding="utf-8")
        except OSError:
            return ""

    def _is_interrupted(self) -> bool:
        return self._asked() == INTERRUPT

    def _watch_parent(self) -> None:
        os.read(0, 1)
        self._parent_is_gone = True


def main() -> None:
    """Do the runs of the bundle on standard input; its end means that nobody waits for them any more."""
    bundle, workers = pickle.load(sys.stdin.buffer)
    here = ("", os.getcwd())
    sys.path[:] = [place for place in sys.path if place not in here]  # as ipykernel's launcher does
    fork_server.prepare()
    with ExitStack() as stack:
        if bundle.answers is not None:
            stack.enter_context(own_store(packs_for(bundle.answers, bundle.name)))
        os.environ["WORKBENCH_SERVICE"] = stack.enter_context(
            private_service(
                threads=cores(),
                ahead=any(plan.models for plan in bundle.plans),
                log=sys.stderr.fileno(),
            )
        )
        _Work(bundle, workers).go_through()
    sys.stderr.flush()
    os._exit(0)  # a thread may still wait for a run that another process does


if __name__ == "__main__":
    main()
