"""Many runs of one notebook: read from a file, grouped by model, executed in parallel, and resumed where they stopped.

A sweep's own folder is `root/sweeps/<name>/`: `sweep.json` (how each run ended), `runs.parquet` (one row per run with
parameters and metrics) and `index.html`. The runs themselves are stored like single runs, and shared with them.
"""

import json
import os
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from time import monotonic
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from workbench.atomic import expect_file_name, make_folder, write_atomically
from workbench.errors import BadInput, StaleRun
from workbench.paths import expanded
from workbench.runs.leases import visible_gpus
from workbench.runs.local import LocalProcesses
from workbench.runs.notebooks import find_notebook
from workbench.runs.plans import Plan, plan_all
from workbench.runs.reading import write_table
from workbench.runs.sweep_page import write_sweep_page
from workbench.runs.task import Ending, Task, ending_of

Values = Annotated[list[Any], Field(min_length=1)]


class SweepFile(BaseModel):
    """The content of a sweep's file.

    Every entry of `cases` is combined with every combination of `product`; `parameters` are the same for all runs.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    notebook: str
    parameters: dict[str, Any] = {}
    product: dict[str, Values] = {}
    cases: Annotated[list[dict[str, Any]], Field(min_length=1)] = [{}]
    workers: Annotated[int, Field(ge=1)] | None = None
    gpus: Annotated[int, Field(ge=0)] = 1
    limit: Annotated[float, Field(gt=0)] | None = None

    def combinations(self) -> Iterator[dict[str, Any]]:
        """Yield the parameters of each run, in order.

        Raises:
            BadInput: a parameter given in two places.
        """
        for case in self.cases:
            named = [*self.parameters, *case, *self.product]
            twice = {name for name in named if named.count(name) > 1}
            if twice:
                raise BadInput(
                    f"{', '.join(sorted(twice))}: given in two places; let a parameter stand in one of "
                    "[parameters], [product] and [[cases]]"
                )
            for values in product(*self.product.values()):
                yield {**self.parameters, **case, **dict(zip(self.product, values, strict=True))}


@dataclass
class Progress:
    """The state of a sweep: its plans in order, the runs in progress, and how finished ones ended."""

    plans: list[Plan]
    endings: dict[str, Ending] = field(default_factory=dict)
    running: list[str] = field(default_factory=list)

    @property
    def failed(self) -> list[Ending]:
        """The runs of this sweep that did not succeed."""
        return [ending for ending in self.endings.values() if ending.exit_code and not ending.reused]

    def state(self, run_id: str) -> str:
        """Return "done", "there" (existed before this sweep), "stale" (as that, of other weights), "failed", "runs" or "waits"."""
        ending = self.endings.get(run_id)
        if ending is None:
            return "runs" if run_id in self.running else "waits"
        if ending.exit_code == StaleRun.exit_code:
            return "stale"
        return "failed" if ending.exit_code else "there" if ending.reused else "done"

    def counts(self) -> dict[str, int]:
        """Return the number of runs in each state."""
        return dict(Counter(self.state(plan.run_id) for plan in self.plans))


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


def read_sweep(path: Path | str) -> tuple[str, SweepFile]:
    """Read a sweep's file, TOML or JSON; the sweep is named after the file.

    Raises:
        BadInput: no such file, not TOML or JSON, an unknown key, or a value of the wrong type.
    """
    path = Path(path)
    name = expect_file_name(path.stem, "the sweep")
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = (
            json.loads(text, object_pairs_hook=_object) if path.suffix == ".json" else tomllib.loads(text)
        )
        return name, SweepFile.model_validate(content)
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read the sweep {path}: {error}; give a .toml or .json file") from error
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, each['loc']))}: {each['msg'].lower()}"
            for each in error.errors(include_url=False)
        ]
        known = ", ".join(SweepFile.model_fields)
        raise BadInput(f"{path}: {'; '.join(problems)} – a sweep's file may say: {known}") from error
    except (ValueError, RecursionError) as error:
        raise BadInput(
            f"{path} is not {'JSON' if path.suffix == '.json' else 'TOML'}: {error}; correct it at that place"
        ) from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object as a dict; as in TOML, a repeated key is an error."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for number, (name, _) in enumerate(pairs) if name in dict(pairs[:number]))
        raise ValueError(f"{twice!r} stands twice in one object")
    return found


def plan_sweep(path: Path | str) -> tuple[str, SweepFile, list[Plan]]:
    """Validate every run of a sweep; runs of the same models are adjacent, and equal runs appear once.

    Raises:
        BadInput, UnknownName: the file, or a run in it, is invalid; nothing has been started.
    """
    name, file = read_sweep(path)
    notebook = find_notebook(file.notebook, beside=Path(path).absolute().parent)
    plans = {plan.run_id: plan for plan in plan_all(notebook, file.combinations())}
    return name, file, sorted(plans.values(), key=lambda plan: plan.models)


def sweep(
    path: Path | str,
    *,
    root: Path | str = Path("runs"),
    workers: int | None = None,
    executor: Executor | None = None,
    force: bool = False,
    keep_going: bool = False,
    watch: Callable[[Progress], None] = lambda _: None,
) -> Sweep:
    """Execute the runs of a sweep that do not exist yet.

    Args:
        path: The sweep's file.
        root: The folder of all runs.
        workers: Runs at a time; by default the file's number, else one per GPU (or group of GPUs), else one per core.
        executor: Executes the runs, instead of this machine. It is not shut down, and an interrupt does not stop its tasks.
        force: Run all again.
        keep_going: Start the remaining runs even after one has failed.
        watch: Called with the state of the sweep several times a second.

    Raises:
        BadInput, UnknownName: before anything starts.
        StoreFailed: the sweep's files could not be written.
        KeyboardInterrupt: after the runs in progress have been stopped; the same sweep, started again, resumes from there.
    """
    clock = monotonic()
    name, file, plans = plan_sweep(path)
    root = expanded(root).absolute()
    progress = Progress(plans)
    if not force:
        there = [ending for plan in plans if (ending := _there(plan, root))]
        progress.endings = {ending.run_id: ending for ending in there}
    todo = [Task(plan, root, force, file.limit) for plan in plans if plan.run_id not in progress.endings]
    folder = root / "sweeps" / name
    make_folder(folder)
    pending: dict[Future[Ending], str] = {}
    try:
        if todo:
            slots = workers or file.workers or _slots(file.gpus)
            where = (
                nullcontext(executor) if executor is not None else LocalProcesses(slots, gpus_each=file.gpus)
            )
            with where as processes:
                pending |= {processes.submit(task): task.plan.run_id for task in todo}
                _carry_out(pending, progress, keep_going, watch)
    finally:
        progress.running = []
        _take_endings(pending, progress)
        watch(progress)
        seconds = round(monotonic() - clock, 3)
        done = Sweep(folder, list(progress.endings.values()), progress.counts(), seconds)
        _keep(done, name, file, progress, root)
    return done


def _there(plan: Plan, root: Path) -> Ending | None:
    """Return how a run ended before this sweep, if it did."""
    try:
        if plan.finished(root):
            return Ending(plan.run_id, 0, "nothing to do: it was there", reused=True)
    except StaleRun as error:
        return Ending(plan.run_id, error.exit_code, str(error), reused=True)
    return None


def _carry_out(
    pending: "dict[Future[Ending], str]",
    progress: Progress,
    keep_going: bool,
    watch: Callable[[Progress], None],
) -> None:
    try:
        while pending:
            progress.running = [name for future, name in pending.items() if future.running()]
            watch(progress)
            wait(pending, timeout=0.25, return_when=FIRST_COMPLETED)
            _take_endings(pending, progress)
            if progress.failed and not keep_going:
                for future in pending:
                    future.cancel()
    except KeyboardInterrupt:
        for future in pending:
            future.cancel()
        raise


def _take_endings(pending: "dict[Future[Ending], str]", progress: Progress) -> None:
    """Move finished tasks from `pending` to the endings; cancelled ones are left for the next time."""
    for future in [future for future in pending if future.done()]:
        name = pending.pop(future)
        if not future.cancelled():
            progress.endings[name] = ending_of(name, future)


def _slots(gpus_each: int) -> int:
    there = len(visible_gpus())
    return max(1, there // gpus_each) if there and gpus_each else os.cpu_count() or 1


def _keep(done: Sweep, name: str, file: SweepFile, progress: Progress, root: Path) -> None:
    """Write `sweep.json`, the table of runs and the page."""
    runs = []
    for plan in progress.plans:
        ending = progress.endings.get(plan.run_id)
        place = os.path.relpath(plan.folder(root), done.folder)
        runs.append({"run_id": plan.run_id, "folder": place, "given": plan.given, "models": plan.models})
        runs[-1] |= {"state": progress.state(plan.run_id), **(asdict(ending) if ending else {})}
    content = {
        "format": 1,
        "name": name,
        "file": file.model_dump(mode="json", exclude_defaults=True),
        "counts": done.counts,
        "exit_code": done.exit_code,
        "seconds": done.seconds,
        "runs": runs,
    }
    write_atomically(done.folder / "sweep.json", json.dumps(content, indent=1, ensure_ascii=False))
    write_table(done.folder)
    write_sweep_page(done.folder)
