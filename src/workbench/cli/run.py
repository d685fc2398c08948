"""`workbench run`: one notebook with checked parameters, or all that ship."""

from pathlib import Path
from typing import Annotated

import typer

import workbench
from workbench.cli.options import Limit, PresetName, Root
from workbench.cli.printing import notice, show_line
from workbench.errors import BadInput, WorkbenchError

EXTRA = {"allow_extra_args": True, "ignore_unknown_options": True}  # the pairs of -p


def run(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(metavar="NOTEBOOK", help="A notebook's file, or the name of one that ships."),
    ] = None,
    run_all: Annotated[
        bool, typer.Option("--all", help="Every notebook that ships, and the page that shows them.")
    ] = False,
    preset: PresetName = None,
    root: Root = Path("runs"),
    force: Annotated[
        bool, typer.Option("--force", help="Run again even if the same run is finished.")
    ] = False,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="With --all: continue after a notebook that failed.")
    ] = False,
    limit: Limit = None,
) -> None:
    """Run a notebook with checked parameters: workbench run NOTEBOOK [-p NAME VALUE]…

    -p NAME VALUE (or --parameter) sets one parameter and may be repeated.
    A list is JSON or separated by commas: -p languages x-en,x-fr. The
    notebook's parameters cell lists what it takes. --preset sets what a
    preset has for the notebook, and -p goes on top; with --all it runs
    every notebook of the preset.

    A finished run is not repeated. Two runs are the same if the code, the
    parameters, the models, the packages, the modules beside the notebook
    and the files that code or parameters name as a whole path are the
    same (`reads` in run.json). Paths composed in code, modules from
    elsewhere and the network are not covered: use --force.
    """
    parameters = parameter_pairs(context.args)
    if run_all == (name is not None) or (run_all and parameters):
        raise BadInput("name one notebook (with -p NAME VALUE), or give --all without parameters")
    chosen = workbench.runs.read_preset(preset) if preset is not None else None
    ship = sorted(workbench.paths.notebook_path().glob("[0-9]*.ipynb"))
    if chosen and run_all:
        ship = [workbench.runs.find_notebook(each) for each in chosen.run]
    failures: list[WorkbenchError] = []
    for path in ship if run_all else [workbench.runs.find_notebook(str(name))]:
        try:
            notebook = workbench.runs.read_notebook(path)
            values = chosen.values(path) if chosen else {}
            values = {**values, **workbench.runs.parse(notebook, parameters)}
            done = workbench.runs.run(notebook, values, root=root, force=force, limit=limit)
        except WorkbenchError as error:
            if not keep_going:
                raise
            failures.append(error)
            notice(f"{path.name}: {error}")
            continue
        show_line(f"{path.stem}: {done.message}")
    page = workbench.runs.write_index(root)
    show_line(f"Open {page.resolve().as_uri()}")
    if failures:
        raise failures[0]


def parameter_pairs(words: list[str]) -> dict[str, str]:
    """Read any number of `-p NAME VALUE`.

    Raises:
        BadInput: something else, or a name given twice.
    """
    pairs: dict[str, str] = {}
    for start in range(0, len(words), 3):
        flag, *pair = words[start : start + 3]
        if flag not in ("-p", "--parameter") or len(pair) != 2:
            raise BadInput(f"cannot read {' '.join(words[start:])!r}; parameters are given as -p NAME VALUE")
        if pair[0] in pairs:
            raise BadInput(f"parameter {pair[0]!r} is given twice; give it once")
        pairs[pair[0]] = pair[1]
    return pairs
