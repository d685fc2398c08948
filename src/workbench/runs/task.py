"""A run that can be carried to another process or machine and done there: what any `concurrent.futures` executor takes."""

from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from workbench.errors import OUR_FAULT, WorkbenchError
from workbench.runs.plans import Plan
from workbench.runs.supervise import run_plan


@dataclass(frozen=True)
class Ending:
    """What became of a task: the contract's exit code, a sentence, seconds, and whether the run had been there before."""

    run_id: str
    exit_code: int
    message: str
    seconds: float = 0.0
    reused: bool = False


def ending_of(run_id: str, future: "Future[Ending]") -> Ending:
    """What a task's future holds; also where the task never began, or whatever its executor raised instead."""
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, WorkbenchError):
        return Ending(run_id, error.exit_code, str(error))
    return Ending(run_id, OUR_FAULT, f"its executor raised {type(error).__name__}: {error}")


@dataclass(frozen=True)
class Task:
    """A planned run and how to do it; calling it does it, and never raises what the run raised."""

    plan: Plan
    root: Path
    force: bool = False
    limit: float | None = None

    def __call__(self) -> Ending:
        """Do the run; the same run going on in another process is waited for."""
        name, clock = self.plan.run_id, monotonic()
        try:
            done = run_plan(self.plan, root=self.root, force=self.force, limit=self.limit, wait=True)
        except WorkbenchError as error:
            return Ending(name, error.exit_code, str(error), round(monotonic() - clock, 3))
        except KeyboardInterrupt:
            return Ending(name, 130, "interrupted", round(monotonic() - clock, 3))
        return Ending(name, 0, done.message, round(monotonic() - clock, 3), done.reused)
