"""`workbench store`: count, check and repair the answers, and carry them elsewhere as packs."""

from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

import workbench
from workbench.cli.options import Json
from workbench.cli.printing import notice, show, show_json, show_line

app = typer.Typer(help="Look after the store of answers.", no_args_is_help=True)

Pack = Annotated[Path, typer.Argument(help="The pack's file.")]


@app.command()
def info(as_json: Json = False) -> None:
    """Count the answers in the store; those of superseded algorithms apart."""
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
            "What is superseded was computed by an older algorithm: it is kept and not used; "
            "`workbench store prune` removes it."
        )


@app.command()
def check(
    pack: Annotated[Path | None, typer.Argument(help="An answer pack; the store itself by default.")] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Remove damaged entries; they are computed again.")
    ] = False,
) -> None:
    """Read every entry of the store (exit 7 if one is damaged), or of a pack (exit 2)."""
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
    """Remove the answers of superseded algorithms, which are kept and not used, and give their space back."""
    store = workbench.store.Store()
    show_line(f"{store.prune(workbench.models.algorithms())} answers removed from {store.path}")


@app.command("export")
def export_answers(
    pack: Pack,
    model: Annotated[
        list[str] | None,
        typer.Option(help="Whose answers, by name or digest; may be repeated. All by default."),
    ] = None,
    run: Annotated[
        list[Path] | None,
        typer.Option(help="The models of a run's or an evaluation's folder; may be repeated."),
    ] = None,
) -> None:
    """Write answers into one file, which `store import` takes in elsewhere, without weights."""
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
    """Take in the answers of a pack or of another store; those that are there already stay."""
    taken = import_module("workbench.store.packs").import_pack(workbench.store.Store(), pack)
    show_line(f"{taken.new} new answers of {taken.answers} in the pack")
    for name in taken.kept_names:
        notice(
            f"{name} means other weights here than in the pack; its answers are in, and found by those weights"
        )


def _print_pack(found: Any) -> None:
    show_line(
        f"{found.path}: {found.answers} answers, whole; models: {', '.join(found.models) or 'none named'}"
    )
    for each in found.settings:
        show_line(each)
