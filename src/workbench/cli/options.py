"""Options that several commands share."""

from math import isfinite, nan
from pathlib import Path
from typing import Annotated, Literal

import typer


def positive(text: str | float) -> float:
    """Return a finite number above zero; "nan" and "inf" are refused."""
    try:
        number = float(text)
    except ValueError:
        number = nan
    if not (isfinite(number) and number > 0):
        raise typer.BadParameter(f"{text!r} is not a number above 0")
    return number


def fraction(text: str | float) -> float:
    """Return a number strictly between zero and one."""
    number = positive(text)
    if number >= 1:
        raise typer.BadParameter(f"{text!r} is not a number between 0 and 1")
    return number


Dtype = Annotated[
    Literal["float32", "bfloat16", "float16", "auto"],
    typer.Option(help="Precision of the weights; auto: as published."),
]
Quantization = Annotated[
    Literal["8bit", "4bit"] | None,
    typer.Option(help="Quantize the weights when they are read (bitsandbytes)."),
]
Device = Annotated[
    str, typer.Option(help="Where to compute: auto, cpu, cuda, cuda:0, …; offload: the rest on the disk.")
]
Revision = Annotated[str | None, typer.Option(help="A commit or branch of the model on the hub.")]
Languages = Annotated[
    str | None, typer.Option(help="Language codes separated by commas, such as en,sw. Default: all.")
]
Root = Annotated[Path, typer.Option(help="Folder that holds the run folders.")]
Limit = Annotated[
    float | None, typer.Option(parser=positive, metavar="FLOAT", help="Time limit for each run, in seconds.")
]
PresetName = Annotated[
    str | None,
    typer.Option("--preset", metavar="NAME", help="A preset that ships, or a .toml file of your own."),
]
Expected = Annotated[
    Path | None, typer.Option(help="Folder of expected values. Default: those that ship with the package.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


def names_in(text: str | None) -> list[str] | None:
    """Return the names between the commas, or None if there are none."""
    return text.split(",") if text else None
