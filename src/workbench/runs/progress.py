"""The state of a sweep, as its table, `--json` and `sweep.json` show it."""

from collections import Counter
from dataclasses import dataclass, field

from workbench.errors import StaleRun
from workbench.runs.bundles import Bundle, Ending, read_state
from workbench.runs.plans import RunPlan


@dataclass
class Progress:
    """The plans of a sweep in order, the machines of the runs in progress, and how finished ones ended."""

    plans: list[RunPlan]
    endings: dict[str, Ending] = field(default_factory=dict)
    running: dict[str, str] = field(default_factory=dict)

    @property
    def failed(self) -> list[Ending]:
        """The runs of this sweep that did not succeed."""
        return [ending for ending in self.endings.values() if ending.exit_code and not ending.reused]

    def state(self, run_id: str) -> str:
        """Return "runs", "waits", "done", "failed", or, of a run that was finished before, "there" or "stale"."""
        ending = self.endings.get(run_id)
        if ending is None:
            return "runs" if run_id in self.running else "waits"
        if ending.exit_code == StaleRun.exit_code:
            return "stale"
        return "failed" if ending.exit_code else "there" if ending.reused else "done"

    def where(self, run_id: str) -> str:
        """Return the machine on which a run is or was done; empty if none is known."""
        ending = self.endings.get(run_id)
        return ending.where if ending else self.running.get(run_id, "")

    def counts(self) -> dict[str, int]:
        """Return the number of runs in each state."""
        return dict(Counter(self.state(plan.run_id) for plan in self.plans))

    def look_at(self, bundles: list[Bundle]) -> None:
        """Read what the bundles have written: an executor's futures do not say where a task runs, or whether."""
        states = [read_state(bundle) for bundle in bundles]
        for ending in (ending for state in states for ending in state.endings):
            known = self.endings.get(ending.run_id)
            if known is None or known.exit_code:  # a bundle that was done again finds its finished runs there
                self.endings[ending.run_id] = ending
        running = {run_id: state.where for state in states for run_id in state.running}
        self.running = {run_id: where for run_id, where in running.items() if run_id not in self.endings}
