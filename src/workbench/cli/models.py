"""`workbench models`: the catalogue with what each checkpoint needs, or what a GGUF file holds."""

from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

import workbench
from workbench.cli.options import Json
from workbench.cli.printing import notice, show, show_json, show_line
from workbench.errors import BadInput
from workbench.gguf_header import read_header

_PRECISIONS = (("float32",), ("bfloat16",), ("bfloat16", "8bit"), ("bfloat16", "4bit"))


def models(
    file: Annotated[
        str | None, typer.Argument(help="A .gguf file to describe instead of the catalogue.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the known models, with their sizes, finetuning mixtures and memory, and say which are on this machine.

    With a GGUF file, list the types that its tensors really have, and the memory that it needs.
    """
    if file is not None:
        _show_file(file, as_json)
        return
    rows = [_describe(one) for family in workbench.family.families() for one in family.checkpoints]
    show(rows, as_json)
    if not as_json:
        notice(
            "? marks a value from a secondary source. GB is the size of the weights alone: in float32, bfloat16, 8 bit and 4 bit, the "
            "last two with embeddings and head in bfloat16. A generated token reads all of them once: GB / (GB per second of the "
            "memory) is the shortest time for it. On a CPU 8 and 4 bit save memory, not time."
        )


def _show_file(name: str, as_json: bool) -> None:
    if not workbench.family.is_gguf(name):
        raise BadInput(
            f"{name!r} is not a GGUF file; give the name of a .gguf file, or nothing for the catalogue"
        )
    path = import_module("workbench.models.gguf").place_of(name, None).path
    if path is None:
        raise BadInput(f"{name} is not on this machine; download it first, as `load` does")
    header = read_header(path)
    rows = [
        {"type": kind, "tensors": number, "values": values, "GB": f"{size / 1e9:.3g}", "largest": example}
        for kind, number, values, size, example in _by_type(header)
    ]
    checkpoint = workbench.family.declared_checkpoint(name)
    facts = {
        "file": str(path),
        "architecture": header.architecture,
        "stated_type": header.file_type,
        "checkpoint": "" if checkpoint == str(path) else checkpoint,
        "bytes": header.bytes_of_weights,
        "memory": workbench.models.memory.forecast_of_file(header).total,
    }
    if as_json:
        show_json({**facts, "tensors": rows})
        return
    show(rows)
    show_line(
        f"{Path(path).name}: {header.architecture}, stated type {header.file_type}"
        + (
            f", made of {facts['checkpoint']}"
            if facts["checkpoint"]
            else ", which does not say of what checkpoint it was made"
        )
        + f"; weights {header.bytes_of_weights / 1e9:.3g} GB, {facts['memory'] / 1e9:.3g} GB in memory with a batch and libraries"
    )


def _by_type(header: Any) -> list[tuple[str, int, int, int, str]]:
    """Return the types with the numbers of their tensors and values, their bytes and the name of a tensor, largest first."""
    found = []
    for kind, values in header.values_by_type.items():
        own = {name: tensor for name, tensor in header.tensors.items() if tensor.type == kind}
        largest = max(own, key=lambda name: own[name].size)
        found.append((kind, len(own), values, sum(tensor.size for tensor in own.values()), largest))
    return sorted(found, key=lambda row: -row[3])


def _describe(checkpoint: Any) -> dict[str, Any]:
    unsure = set(checkpoint.unverified)
    gigabytes = [workbench.family.memory_needed(checkpoint, *how) / 1e9 for how in _PRECISIONS]
    fields = {
        "name": checkpoint.name,
        "side": {"bloom": "BLOOM", "mt5": "mT5"}.get(checkpoint.architecture, checkpoint.architecture),
        "parameters": f"{checkpoint.parameters:,}",
        "mixture": checkpoint.mixture,
        "prompts": checkpoint.prompt_language,
        "steps": "" if checkpoint.steps is None else f"{checkpoint.steps:,}",
        "GB": " / ".join(f"{size:.3g}" for size in gigabytes),
        "here": workbench.models.places.whereabouts(checkpoint.name),
    }
    return {
        key: f"{value}?" if {"prompts": "prompt_language"}.get(key, key) in unsure else value
        for key, value in fields.items()
    }
