"""Options that several commands have, said once."""

from pathlib import Path
from typing import Annotated, Literal

import typer

Dtype = Annotated[Literal["float32", "bfloat16", "float16"], typer.Option(help="What to compute in.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:0 …")]
Revision = Annotated[str | None, typer.Option(help="A commit or branch of the model on the hub.")]
Languages = Annotated[str | None, typer.Option(help="Codes with commas, as en,sw; all by default.")]
Root = Annotated[Path, typer.Option(help="Where the runs' folders go.")]
Limit = Annotated[float | None, typer.Option(help="Seconds after which a run is ended.")]
Expected = Annotated[Path | None, typer.Option(help="Another folder of expected values.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


def names_in(text: str | None) -> list[str] | None:
    """What stands between the commas; None for nothing."""
    return text.split(",") if text else None
