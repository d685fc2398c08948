"""`workbench store`: count, check and repair stored answers, and move them between machines as packs."""

from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

import workbench
from workbench.cli.options import Json
from workbench.cli.printing import notice, show, show_json, show_line

app = typer.Typer(help="Inspect, check, export and import stored answers.", no_args_is_help=True)

Pack = Annotated[Path, typer.Argument(help="File of the answer pack.")]


@app.command()
def info(as_json: Json = False) -> None:
    """Count the answers in the store; those of superseded algorithms are counted separately."""
    found = workbench.store.Store().info(workbench.models.algorithms())
    if as_json:
        show_json(found)
        return
    show_line(f"{found['path']}: {found['answers']} answers, {found['bytes'] / 1e6:.1f} MB")
    rows = [{"what": what, "answers": count} for what, count in sorted(found["by_kind"].items())]
    old = [
        {"what": f"{what}, superseded", "answers": count}
        for what, count in sorted(found["superseded"].items())
    ]
    show([*rows, *old])
    for what, several in sorted(found["libraries"].items()):
        show_line(f"{what} was answered with {len(several)} sets of versions: {'; '.join(several)}")
    if old:
        notice(
            "Superseded answers were computed by an older algorithm: they are kept but not used; "
            "`workbench store prune` removes them."
        )


@app.command()
def check(
    pack: Annotated[
        Path | None, typer.Argument(help="An answer pack to check. Default: the store itself.")
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Remove damaged entries, which are computed again when needed.")
    ] = False,
) -> None:
    """Read every entry of the store or of a pack. Exits with 7 if the store is damaged, with 2 if a pack is."""
    if pack is not None:
        _print_pack(import_module("workbench.store.packs").check_pack(pack))
        return
    store = workbench.store.Store()
    damaged = import_module("workbench.store.checking").check_store(store, repair=repair)
    for each in damaged:
        show_line(f"{'removed' if repair else 'damaged'} {each}")
    if damaged and not repair:
        raise workbench.errors.StoreFailed(
            f"{len(damaged)} entries of the store {store.path} are damaged; {workbench.store.REPAIR}"
        )
    show_line("every entry is whole" if not damaged else f"{len(damaged)} entries removed")


@app.command()
def prune() -> None:
    """Remove the answers of superseded algorithms, which are no longer used, and free their space."""
    store = workbench.store.Store()
    show_line(f"{store.prune(workbench.models.algorithms())} answers removed from {store.path}")


@app.command("export")
def export_answers(
    pack: Pack,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Export the answers of this model (name or digest); may be repeated. Default: all."
        ),
    ] = None,
    run: Annotated[
        list[Path] | None,
        typer.Option(
            help="Export the answers of the models used in this run or evaluation folder; may be repeated."
        ),
    ] = None,
) -> None:
    """Write answers to one file. After `store import` on another machine, they are available there without weights."""
    export = import_module("workbench.store.export").export_pack
    found = export(workbench.store.Store(), pack, models=model or (), runs=run or ())
    _print_pack(found)
    if found.left_out:
        notice(
            f"{found.left_out} answers of the store are left out: their settings are lost, and with them the model; "
            "a call with the same settings brings them back"
        )


@app.command("import")
def import_answers(pack: Pack) -> None:
    """Add the answers of a pack (a file, or the folder that `workbench pack` writes) or of another store; existing ones are kept."""
    pack = import_module("workbench.runs.answer_packs").answers_in(pack)
    taken = import_module("workbench.store.packs").import_pack(workbench.store.Store(), pack)
    show_line(f"{taken.new} new answers of {taken.answers} in the pack")
    for name in taken.kept_names:
        notice(
            f"{name} stands for other weights here than in the pack; the pack's answers were imported and are used with those weights"
        )


def _print_pack(found: Any) -> None:
    show_line(
        f"{found.path}: {found.answers} answers, whole; models: {', '.join(found.models) or 'none named'}"
    )
    for each in found.settings:
        show_line(each)
