"""`workbench accept`: take what a run gave as what is expected."""

from pathlib import Path
from typing import Annotated

import typer

import workbench
from workbench.cli.options import Expected
from workbench.cli.printing import show, show_line
from workbench.cli.verify import difference_rows


def accept(
    runs: Annotated[list[Path], typer.Argument(help="The folders of finished runs.")],
    case: Annotated[
        str | None, typer.Option(help="A name for it; default, or what is unusual in the parameters.")
    ] = None,
    expected: Expected = None,
) -> None:
    """Rewrite expected values from runs, and show what changed."""
    for run in runs:
        path, changed = workbench.runs.accept(run, case, expected)
        if changed:
            show(difference_rows([(path.stem, each) for each in changed]))
        show_line(f"{path}: {'new' if changed is None else f'{len(changed)} changes'}")
