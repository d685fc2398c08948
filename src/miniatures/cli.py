"""`workbench mini`: train the miniature family again, check it, and write its mixtures."""

from importlib import import_module
from pathlib import Path
from typing import Annotated, Literal

import typer

import workbench
from workbench.cli.options import Json
from workbench.cli.printing import notice, show, show_json, show_line
from workbench.errors import ResultsDiffer

app = typer.Typer(help="The miniature family: train it again, check it.", no_args_is_help=True)


@app.command()
def train(
    members: Annotated[
        list[str] | None, typer.Argument(help="Which to train; all that ship by default.")
    ] = None,
    folder: Annotated[Path, typer.Option(help="Where the checkpoints go.")] = Path("runs/mini"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of data and weights.")] = 0,
) -> None:
    """Train members from their recipe; stopped and started again, it goes on.

    A base that is not in the folder is taken from those that ship, if it is of this seed, else trained too. Losses are
    compared with those recorded for the members that ship; exit 3 if they differ.
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
        Path | None, typer.Option(help="Where the members lie; those that ship by default.")
    ] = None,
    meanings: Annotated[
        int | None, typer.Option(min=12, max=48, help="Of each task: a multiple of 12, at most 48.")
    ] = None,
    findings: Annotated[
        bool, typer.Option("--findings", help="Print the findings too, which nothing depends on.")
    ] = False,
    save: Annotated[Path | None, typer.Option(help="Write every answer to this parquet file.")] = None,
    as_json: Json = False,
) -> None:
    """Does the instrument work? Print the checks with 95 % intervals; exit 3 if a condition fails."""
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
    name: Annotated[Literal["p3", "xp3", "xp3mt"], typer.Argument(help="Which mixture.")],
    out: Annotated[Path, typer.Option(help="A new folder.")],
    count: Annotated[int, typer.Option(min=1, help="How many examples.")] = 20_000,
    seed: Annotated[int, typer.Option(min=0, help="Of what is drawn.")] = 0,
) -> None:
    """Write a mixture of the miniature world in xP3's layout, for `workbench finetune`."""
    workbench.atomic.make_folder(out)
    files = import_module("miniatures.examples").write_mixture(out, name, count, seed)
    show_line(f"{count} examples in {len(files)} files in {out}")
