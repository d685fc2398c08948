"""A run as a picklable task, to be executed in another process or on another machine by any `concurrent.futures` executor."""

from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from workbench.errors import OUR_FAULT, WorkbenchError
from workbench.runs.plans import Plan
from workbench.runs.supervise import run_plan


@dataclass(frozen=True)
class Ending:
    """How a task ended: its exit code, a message, seconds, and whether the run existed before."""

    run_id: str
    exit_code: int
    message: str
    seconds: float = 0.0
    reused: bool = False


def ending_of(run_id: str, future: "Future[Ending]") -> Ending:
    """Return the result of a task's future, or an Ending for the exception it holds."""
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, WorkbenchError):
        return Ending(run_id, error.exit_code, str(error))
    return Ending(run_id, OUR_FAULT, f"its executor raised {type(error).__name__}: {error}")


@dataclass(frozen=True)
class Task:
    """A planned run with its options; calling it executes the run, and returns errors of the run as an Ending."""

    plan: Plan
    root: Path
    force: bool = False
    limit: float | None = None

    def __call__(self) -> Ending:
        """Execute the run, or wait for another process that is executing it."""
        name, clock = self.plan.run_id, monotonic()
        try:
            done = run_plan(self.plan, root=self.root, force=self.force, limit=self.limit, wait=True)
        except WorkbenchError as error:
            return Ending(name, error.exit_code, str(error), round(monotonic() - clock, 3))
        except KeyboardInterrupt:
            return Ending(name, 130, "interrupted", round(monotonic() - clock, 3))
        return Ending(name, 0, done.message, round(monotonic() - clock, 3), done.reused)
