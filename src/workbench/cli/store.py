"""`workbench store`: count, check and repair the answers, and carry them elsewhere as packs."""

from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

import workbench
from workbench.cli.options import Json
from workbench.cli.printing import notice, show, show_json

app = typer.Typer(help="Look after the store of answers.", no_args_is_help=True)

Pack = Annotated[Path, typer.Argument(help="The pack's file.")]


@app.command()
def info(as_json: Json = False) -> None:
    """Count the answers in the store."""
    found = workbench.store.Store().info()
    if as_json:
        show_json(found)
        return
    typer.echo(f"{found['path']}: {found['answers']} answers, {found['bytes'] / 1e6:.1f} MB")
    show([{"what": what, "answers": count} for what, count in sorted(found["by_kind"].items())])


@app.command()
def check(
    pack: Annotated[Path | None, typer.Argument(help="An answer pack; the store itself by default.")] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Remove damaged entries; they are computed again.")
    ] = False,
) -> None:
    """Read every entry of the store (exit 7 if one is damaged), or of a pack (exit 2)."""
    if pack is not None:
        _tell(import_module("workbench.store.packs").check_pack(pack))
        return
    damaged = workbench.store.Store().check(repair=repair)
    for key in damaged:
        typer.echo(f"{'removed' if repair else 'damaged'} {key}")
    if damaged and not repair:
        raise typer.Exit(workbench.errors.StoreFailed.exit_code)
    typer.echo("every entry is whole" if not damaged else f"{len(damaged)} entries removed")


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
    _tell(
        import_module("workbench.store.packs").export_pack(
            workbench.store.Store(), pack, models=model or (), runs=run or ()
        )
    )


@app.command("import")
def import_answers(pack: Pack) -> None:
    """Take in a pack's answers; those that are there already stay."""
    taken = import_module("workbench.store.packs").import_pack(workbench.store.Store(), pack)
    typer.echo(f"{taken.new} new answers of {taken.answers} in the pack")
    for name in taken.kept_names:
        notice(
            f"{name} means other weights here than in the pack; its answers are in, and found by those weights"
        )


def _tell(found: Any) -> None:
    typer.echo(
        f"{found.path}: {found.answers} answers, whole; models: {', '.join(found.models) or 'none named'}"
    )
    for each in found.settings:
        typer.echo(each)
