"""`workbench convert`: a checkpoint with .bin files as safetensors, or BLOOM and mT5 as a GGUF file."""

from importlib import import_module
from pathlib import Path
from typing import Annotated, Literal

import typer

from workbench.cli.options import Revision
from workbench.cli.printing import notice, show_line
from workbench.errors import BadInput


def convert(
    model: Annotated[
        str, typer.Argument(help="A name that `workbench models` lists, a hub id, or a folder.")
    ],
    to: Annotated[Literal["safetensors", "gguf"], typer.Option(help="The format to write.")],
    output: Annotated[
        Path, typer.Option(help="Folder for the copy, or name of the .gguf file; must be new.")
    ],
    kind: Annotated[
        str | None,
        typer.Option(
            "--type",
            metavar="TYPE",
            help="With --to gguf: F32, F16 (the default), BF16, Q8_0, Q6_K, Q5_K_M, Q4_K_M, Q3_K_M, Q2_K, …",
        ),
    ] = None,
    revision: Revision = None,
) -> None:
    """Convert a model: weights published only as .bin files to safetensors, or BLOOM and mT5 to a GGUF file for llama.cpp."""
    if to == "safetensors":
        if kind is not None:
            raise BadInput(f"--type {kind} is for --to gguf; leave it out")
        folder = import_module("workbench.engines.transformers.convert").to_safetensors(
            model, output, revision=revision
        )
        show_line(f"wrote {to} to {folder}; load the model by that path")
        return
    made = import_module("workbench.engines.gguf.converting").to_gguf(
        model, output, kind=kind or "F16", revision=revision
    )
    types = ", ".join(sorted(made.types, key=made.types.__getitem__, reverse=True))
    show_line(
        f"wrote {made.file} (tensors in {types}); log-probabilities of tokens differ from the checkpoint's by {made.mean:.4f} nats on "
        f"average, at most {made.largest:.3f}"
    )
    if not made.states_checkpoint:
        notice(f"The file names no checkpoint; load it as {made.file}#{model}, whose tokenizer is needed.")
