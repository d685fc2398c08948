"""`workbench run`: one notebook with checked parameters, or all that ship."""

from pathlib import Path
from typing import Annotated, Any

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
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="With --all: notebooks at a time; default one per core, with a preset one."),
    ] = None,
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
    if workers and not run_all:
        raise BadInput("--workers goes with --all; `workbench sweep` runs one notebook many times")
    chosen = workbench.runs.read_preset(preset) if preset is not None else None
    ship = sorted(workbench.paths.notebook_path().glob("[0-9]*.ipynb"))
    if chosen and run_all:
        ship = [workbench.runs.find_notebook(each) for each in chosen.run]
    if run_all:
        _run_all(ship, chosen, workers or (1 if chosen else None), root, force, keep_going, limit)
        return
    notebook = workbench.runs.read_notebook(workbench.runs.find_notebook(str(name)))
    values = {
        **(chosen.values(notebook.path) if chosen else {}),
        **workbench.runs.parse(notebook, parameters),
    }
    done = workbench.runs.run(notebook, values, root=root, force=force, limit=limit)
    show_line(f"{notebook.path.stem}: {done.message}")
    _show_index(root)


def _run_all(
    notebooks: list[Path], preset: Any, workers: int | None, root: Path, force: bool, keep_going: bool, limit: float | None
) -> None:  # fmt: skip
    """Run notebooks side by side, with a line for each that ended; exit with the highest code."""
    plans, codes, shown = [], [0], set()
    for path in notebooks:
        try:
            plans.append(workbench.runs.plan(path, preset.values(path) if preset else {}))
        except WorkbenchError as error:
            if not keep_going:
                raise
            notice(f"{path.stem}: {error}")
            codes.append(error.exit_code)

    def show_ended(progress: Any) -> None:
        for plan in plans:
            ending = progress.endings.get(plan.run_id)
            if ending and plan.run_id not in shown:
                shown.add(plan.run_id)
                (notice if ending.exit_code else show_line)(f"{plan.notebook.stem}: {ending.message}")

    endings = workbench.runs.run_all(
        plans, root=root, workers=workers, force=force, keep_going=keep_going, limit=limit, watch=show_ended
    )
    _show_index(root)
    if code := max(codes + [ending.exit_code for ending in endings]):
        raise typer.Exit(code)


def _show_index(root: Path) -> None:
    show_line(f"Open {workbench.runs.write_index(root).resolve().as_uri()}")


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
