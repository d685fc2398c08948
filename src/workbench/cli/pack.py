"""`workbench pack`: run the notebooks of a preset and write their answers as a folder that others use without weights."""

from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.options import Limit
from workbench.cli.printing import show_line


def pack(
    preset: Annotated[str, typer.Argument(help="A preset that ships, or a .toml file of your own.")],
    out: Annotated[
        Path | None, typer.Option(help="The pack's folder; must be new. Default: pack-PRESET.")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(help="A checkpoint that replaces those of its side in the preset; may be repeated."),
    ] = None,
    note: Annotated[str, typer.Option(help="A sentence for the pack's README.")] = "",
    limit: Limit = None,
) -> None:
    """Run the notebooks of a preset, and write an answer pack: on a laptop they then run without weights.

    The runs use a store of their own. Stopped and started again, it goes on.
    """
    made = import_module("workbench.runs.packing").make_pack(
        preset, (out or Path(f"pack-{Path(preset).stem}")).absolute(), models=model or (), note=note, limit=limit,
        watch=lambda run: show_line(f"{run.manifest['notebook']}: {run.message}"),
    )  # fmt: skip
    size = sum(path.stat().st_size for path in made.folder.rglob("*") if path.is_file())
    show_line(
        f"{made.folder}: {made.answers.answers:,} answers, {size / 1e6:.1f} MB; its README.md says how to use it"
    )
