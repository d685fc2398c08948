"""Options that several commands have, said once."""

from math import isfinite, nan
from pathlib import Path
from typing import Annotated, Literal

import typer


def positive(text: str | float) -> float:
    """A finite number above zero, which "nan" and "inf" are not."""
    try:
        number = float(text)
    except ValueError:
        number = nan
    if not (isfinite(number) and number > 0):
        raise typer.BadParameter(f"{text!r} is not a number above 0")
    return number


def fraction(text: str | float) -> float:
    """A number between zero and one, neither included."""
    number = positive(text)
    if number >= 1:
        raise typer.BadParameter(f"{text!r} is not a number between 0 and 1")
    return number


Dtype = Annotated[Literal["float32", "bfloat16", "float16"], typer.Option(help="What to compute in.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:0 …")]
Revision = Annotated[str | None, typer.Option(help="A commit or branch of the model on the hub.")]
Languages = Annotated[str | None, typer.Option(help="Codes with commas, as en,sw; all by default.")]
Root = Annotated[Path, typer.Option(help="Where the runs' folders go.")]
Limit = Annotated[
    float | None, typer.Option(parser=positive, metavar="FLOAT", help="Seconds after which a run is ended.")
]
Expected = Annotated[Path | None, typer.Option(help="Another folder of expected values.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


def names_in(text: str | None) -> list[str] | None:
    """What stands between the commas; None for nothing."""
    return text.split(",") if text else None
