"""`workbench sweep`: many runs of one notebook, with a table of what runs where, waits and failed."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

import workbench
from workbench.cli.options import Json, PresetName, Root
from workbench.cli.printing import as_text, notice, show_json, show_line

_SHOWN = 20  # rows of the live table
_WORDS = {
    "runs": "running", "failed": "failed", "stale": "stale", "waits": "waiting", "done": "done", "there": "there before",
}  # fmt: skip


def sweep(
    file: Annotated[
        Path, typer.Argument(help="The sweep, as .toml or .json; with --preset, a notebook of the preset.")
    ],
    preset: PresetName = None,
    workers: Annotated[int | None, typer.Option(min=1, help="How many runs at a time on a machine.")] = None,
    on: Annotated[
        str,
        typer.Option("--on", metavar="PLACE", help="Where: local, dask:ADDRESS (of a scheduler) or slurm."),
    ] = "local",
    part: Annotated[
        str | None,
        typer.Option(metavar="K/N", help="Only part K of N, as a job array asks; then once without."),
    ] = None,
    root: Root = Path("runs"),
    force: Annotated[bool, typer.Option("--force", help="Run all again.")] = False,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Start the others even after a run has failed.")
    ] = False,
    as_json: Json = False,
) -> None:
    r"""Do the runs of a sweep that are not there yet; interrupted and started again, it goes on.

    The file names a notebook, and its parameters as \[parameters] (the
    same for all), \[product] (lists: every combination) and [\[cases]]
    (each with every combination); \[resources] (cpus, memory, gpus, time,
    partition, jobs) says what one set of models needs. With --json each
    line is an object: a run whose state changed, and at last the sweep
    with its table.
    """
    what: Any = file
    if preset is not None:
        what = workbench.runs.read_preset(preset).sweep_file(workbench.runs.find_notebook(str(file)))
    with _watching(as_json) as watch:
        done = workbench.runs.sweep(
            what, root=root, workers=workers, on=on, part=workbench.runs.read_part(part) if part else None,
            force=force, keep_going=keep_going, watch=watch,
        )  # fmt: skip
    for ending in done.endings:
        if ending.exit_code:
            notice(f"{ending.run_id} ({ending.exit_code}): {ending.message.splitlines()[0]}")
    if as_json:
        rows = json.loads(done.table().to_json(orient="records"))
        facts = {
            "state": "ended",
            "folder": str(done.folder),
            "counts": done.counts,
            "exit_code": done.exit_code,
        }
        show_json({**facts, "runs": rows}, indent=None)
    else:
        show_line(f"{_words(done.counts)} in {done.seconds:.1f} s: {done.folder}")
        show_line(f"Open {(done.folder / 'index.html').resolve().as_uri()}")
    if done.exit_code:
        raise typer.Exit(done.exit_code)


@contextmanager
def _watching(as_json: bool) -> Iterator[Callable[[Any], None]]:
    """A table that changes in place on a terminal; elsewhere a line for each run whose state changed, with `as_json` as JSON."""
    if not as_json and sys.stderr.isatty():
        with Live(console=Console(stderr=True), refresh_per_second=4, transient=True) as live:
            yield lambda progress: live.update(_table(progress))
        return
    known: dict[str, str] = {}

    def show_changes(progress: Any) -> None:
        for run_id in [plan.run_id for plan in progress.plans]:
            state = progress.state(run_id)
            if state != known.get(run_id, "waits"):
                _show_change(progress, run_id, as_json=as_json)
            known[run_id] = state

    yield show_changes


def _show_change(progress: Any, run_id: str, *, as_json: bool) -> None:
    state, ending, where = progress.state(run_id), progress.endings.get(run_id), progress.where(run_id)
    seconds = ending.seconds if ending else 0.0
    if as_json:
        message = ending.message if ending else ""
        facts = {"run_id": run_id, "state": state, "where": where, "seconds": seconds, "message": message}
        show_json({**facts, "counts": progress.counts()}, indent=None)
    elif state not in ("runs", "there"):
        notice(f"{state} {run_id} {seconds:.1f} s ({_words(progress.counts())})")


def _table(progress: Any) -> Table:
    """The runs that are of interest now: those that run, that failed, that wait."""
    table = Table(title=_words(progress.counts()), box=None, pad_edge=False)
    for column in ("state", "run", "where", "what happened"):
        table.add_column(column, no_wrap=True, overflow="ellipsis")
    order = list(_WORDS)
    states = sorted(
        ((progress.state(plan.run_id), plan.run_id) for plan in progress.plans),
        key=lambda each: order.index(each[0]),
    )
    for state, run_id in states[:_SHOWN]:
        ending = progress.endings.get(run_id)
        message = as_text(ending.message.splitlines()[0] if ending else "")
        table.add_row(_WORDS[state], as_text(run_id), as_text(progress.where(run_id)), message)
    if len(states) > _SHOWN:
        table.add_row("…", f"and {len(states) - _SHOWN} more", "", "")
    return table


def _words(counts: dict[str, int]) -> str:
    return (
        ", ".join(f"{counts[state]} {word}" for state, word in _WORDS.items() if counts.get(state))
        or "no runs"
    )
