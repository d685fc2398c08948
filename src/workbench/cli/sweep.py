"""`workbench sweep`: many runs of one notebook, with a table of what runs, waits and failed."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

import workbench
from workbench.cli.options import Json, Root
from workbench.cli.printing import as_text, notice, show_json, show_line

_SHOWN = 20  # rows of the live table


def sweep(
    file: Annotated[Path, typer.Argument(help="The sweep, as .toml or .json.")],
    workers: Annotated[int | None, typer.Option(min=1, help="How many runs at a time.")] = None,
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
    (each with every combination).
    """
    with _watching() as watch:
        done = workbench.runs.sweep(
            file, root=root, workers=workers, force=force, keep_going=keep_going, watch=watch
        )
    for ending in done.endings:
        if ending.exit_code:
            notice(f"{ending.run_id} ({ending.exit_code}): {ending.message.splitlines()[0]}")
    if as_json:
        table = import_module("pandas").read_parquet(done.folder / "runs.parquet")
        show_json(json.loads(table.to_json(orient="records")))
    else:
        show_line(f"{_words(done.counts)} in {done.seconds:.1f} s: {done.folder}")
        show_line(f"Open {(done.folder / 'index.html').resolve().as_uri()}")
    if done.exit_code:
        raise typer.Exit(done.exit_code)


@contextmanager
def _watching() -> Iterator[Callable[[Any], None]]:
    """A table that changes in place on a terminal; elsewhere a line on stderr for each run that ended."""
    if sys.stderr.isatty():
        with Live(console=Console(stderr=True), refresh_per_second=4, transient=True) as live:
            yield lambda progress: live.update(_table(progress))
        return
    told: set[str] = set()

    def tell(progress: Any) -> None:
        for run_id, ending in list(progress.endings.items()):
            if run_id not in told and not ending.reused:
                notice(
                    f"{progress.state(run_id)} {run_id} {ending.seconds:.1f} s ({_words(progress.counts())})"
                )
            told.add(run_id)

    yield tell


def _table(progress: Any) -> Table:
    """The runs that are of interest now: those that run, that failed, that wait."""
    table = Table(title=_words(progress.counts()), box=None, pad_edge=False)
    for column in ("state", "run", "what happened"):
        table.add_column(column, no_wrap=True, overflow="ellipsis")
    order = ("runs", "failed", "stale", "waits", "done", "there")
    states = sorted(
        ((progress.state(plan.run_id), plan.run_id) for plan in progress.plans),
        key=lambda each: order.index(each[0]),
    )
    for state, run_id in states[:_SHOWN]:
        ending = progress.endings.get(run_id)
        table.add_row(state, as_text(run_id), as_text(ending.message.splitlines()[0] if ending else ""))
    if len(states) > _SHOWN:
        table.add_row("…", f"and {len(states) - _SHOWN} more", "")
    return table


def _words(counts: dict[str, int]) -> str:
    told = {
        "done": "done",
        "there": "there before",
        "failed": "failed",
        "stale": "stale",
        "runs": "running",
        "waits": "waiting",
    }
    return (
        ", ".join(f"{counts[state]} {word}" for state, word in told.items() if counts.get(state)) or "no runs"
    )
