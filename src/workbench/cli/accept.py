"""`workbench accept`: store the results of runs as expected values."""

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
        str | None,
        typer.Option(help="The name of the case; by default the parameters that were changed, or 'default'."),
    ] = None,
    expected: Expected = None,
) -> None:
    """Store the results of runs as expected values, and show what changed."""
    for run in runs:
        path, changed = workbench.runs.accept(run, case, expected)
        if changed:
            show(difference_rows([(path.stem, each) for each in changed]))
        show_line(f"{path}: {'new' if changed is None else f'{len(changed)} changes'}")
