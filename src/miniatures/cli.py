"""`workbench mini`: train the miniature family again, check it, and write its mixtures."""

from importlib import import_module
from pathlib import Path
from typing import Annotated, Literal

import typer

import workbench
from workbench.cli.options import Json
from workbench.cli.printing import notice, show, show_json, show_line
from workbench.errors import ResultsDiffer

app = typer.Typer(help="Train and check the miniature family, and write its mixtures.", no_args_is_help=True)


@app.command()
def train(
    members: Annotated[
        list[str] | None, typer.Argument(help="Names of the members to train. Default: all that ship.")
    ] = None,
    folder: Annotated[Path, typer.Option(help="Folder for the checkpoints.")] = Path("runs/mini"),
    seed: Annotated[int, typer.Option(min=0, help="Random seed for data and weights.")] = 0,
) -> None:
    """Train members from their recipe. An interrupted training resumes if the command is given again.

    A base that is not in the folder is taken from the package if it has the same seed, and trained otherwise. Losses are
    compared with those recorded for the members that ship; the command exits with 3 if they differ.
    """
    recipe, card = import_module("miniatures.recipe"), import_module("miniatures.card")
    workbench.atomic.make_folder(folder)
    apart = []
    for trained in recipe.train(members or None, folder, seed):
        card.write_card(trained)
        show_line(f"{trained.name}: {trained} (card: README.md)")
        found = recipe.compare_losses(trained)
        if found is not None:
            show_line(f"  losses differ from the recorded ones by {found:.4f} nats at most")
            apart += [trained.name] if found > recipe.LOSS_TOLERANCE else []
    if apart:
        raise ResultsDiffer(
            f"{', '.join(apart)}: losses differ by more than {recipe.LOSS_TOLERANCE} nats from the recorded ones"
        )


@app.command()
def check(
    folder: Annotated[
        Path | None, typer.Option(help="Folder of the members. Default: those that ship.")
    ] = None,
    meanings: Annotated[
        int | None,
        typer.Option(min=12, max=48, help="Number of item groups per task: a multiple of 12, at most 48."),
    ] = None,
    findings: Annotated[
        bool, typer.Option("--findings", help="Also print the findings, which are reported but not judged.")
    ] = False,
    save: Annotated[Path | None, typer.Option(help="Also write every answer to this parquet file.")] = None,
    as_json: Json = False,
) -> None:
    """Check that the measures work on the miniature family. Prints every condition with its 95 % interval; exits with 3 if one fails."""
    room = import_module("miniatures.check")
    if save:
        workbench.atomic.make_folder(save.absolute().parent)  # before the work, not after
    predicted = room.predictions(folder, meanings)
    if save:
        with workbench.atomic.written_whole(save) as aside:
            predicted.to_parquet(aside, index=False)
    table = room.check(folder, predicted=predicted)
    tables = [table, room.findings(predicted)] if findings else [table]
    rows = [import_module("workbench.studies.evaluation").rounded(each).to_dict("records") for each in tables]
    if as_json:
        show_json(dict(zip(("checks", "findings"), rows, strict=True)) if findings else rows[0])
    else:
        for each in rows:
            show(each)
    failed = room.failed(table)
    notice(
        f"{int(table['holds'].sum())} of {int(table['holds'].notna().sum())} conditions hold"
        f" ({int((table['holds'] & table['needs'].eq('not contradicted')).sum())} of them need only not be contradicted)"
    )
    if len(failed):
        for row in failed.itertuples():
            notice(f"fails: {row.check} {row.side} {row.what}")
        raise ResultsDiffer(f"{len(failed)} conditions fail")


@app.command()
def mixture(
    name: Annotated[Literal["p3", "xp3", "xp3mt"], typer.Argument(help="Name of the mixture.")],
    out: Annotated[Path, typer.Option(help="Folder for the mixture; must be new.")],
    count: Annotated[int, typer.Option(min=1, help="Number of examples.")] = 20_000,
    seed: Annotated[int, typer.Option(min=0, help="Random seed for drawing the examples.")] = 0,
) -> None:
    """Write a mixture of the miniature world in xP3's layout, for `workbench finetune`."""
    workbench.atomic.make_folder(out)
    files = import_module("miniatures.examples").write_mixture(out, name, count, seed)
    show_line(f"{count} examples in {len(files)} files in {out}")
