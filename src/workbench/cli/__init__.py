"""The command `workbench`: parses arguments, calls the package, prints.

By default the output is a table to read, with `--json` it is for programs; notices go to stderr. The package's modules are
reached as attributes of `workbench`, which imports them on first use, so that `--help` is quick.
"""

import sys
import warnings
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer

import workbench
from workbench.cli import accept, fetch, pack, run, serve, store, sweep, verify
from workbench.cli.boundary import exit_code_of
from workbench.cli.evaluate import evaluate
from workbench.cli.options import Device, Dtype, Json, Languages, Quantization, Revision, names_in, positive
from workbench.cli.printing import notice, set_up_streams, show, show_json, show_line

app = typer.Typer(
    help="Study crosslingual generalization with BLOOMZ and mT0.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(store.app, name="store")
for _name, _commands in workbench.family.registered("workbench.commands"):
    app.add_typer(_commands, name=_name)
app.command()(evaluate)
app.command("fetch")(fetch.fetch)
app.command("run", context_settings=run.EXTRA)(run.run)
app.command("pack")(pack.pack)
app.command("serve")(serve.serve)
app.command("sweep")(sweep.sweep)
app.command("verify")(verify.verify)
app.command("accept")(accept.accept)

_PRECISIONS = (("float32",), ("bfloat16",), ("bfloat16", "8bit"), ("bfloat16", "4bit"))
ModelName = Annotated[
    str,
    typer.Argument(
        help="A name that `workbench models` lists, a hub id, a folder, or a server's address and #NAME."
    ),
]


@app.command()
def models(as_json: Json = False) -> None:
    """List the known models, with their sizes, finetuning mixtures and memory, and say which are on this machine."""
    rows = [_describe(one) for family in workbench.family.families() for one in family.checkpoints]
    show(rows, as_json)
    if not as_json:
        notice(
            "? marks a value from a secondary source. GB is the size of the weights alone: in float32, bfloat16, 8 bit and 4 bit, the "
            "last two with embeddings and head in bfloat16. A generated token reads all of them once: GB / (GB per second of the "
            "memory) is the shortest time for it. On a CPU 8 and 4 bit save memory, not time."
        )


@app.command()
def generate(
    model: ModelName,
    prompts: Annotated[list[str], typer.Argument(help="One or more prompts; quote each.")],
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Maximum length of an answer, in tokens.")] = 64,
    dtype: Dtype = "float32",
    quantization: Quantization = None,
    device: Device = "auto",
    revision: Revision = None,
    beams: Annotated[int, typer.Option(min=1, help="Number of beams; 1 is greedy decoding.")] = 1,
    sample: Annotated[
        bool, typer.Option("--sample", help="Sample instead of decoding greedily; requires --seed.")
    ] = False,
    temperature: Annotated[
        float, typer.Option(parser=positive, metavar="FLOAT", help="With --sample: sampling temperature.")
    ] = 1.0,
    top_p: Annotated[
        float,
        typer.Option(parser=positive, metavar="FLOAT", help="With --sample: nucleus probability, at most 1."),
    ] = 1.0,
    top_k: Annotated[
        int, typer.Option(min=0, help="With --sample: keep only the k likeliest tokens; 0 keeps all.")
    ] = 0,
    seed: Annotated[int | None, typer.Option(min=0, help="With --sample: random seed.")] = None,
    samples: Annotated[int, typer.Option(min=1, help="With --sample: number of answers per prompt.")] = 1,
    as_json: Json = False,
) -> None:
    """Generate answers to prompts. Answers are stored, and returned from the store when asked for again."""
    handle = workbench.load(model, dtype=dtype, quantization=quantization, device=device, revision=revision)
    answers = workbench.generate(
        handle, prompts, max_new_tokens=max_new_tokens, num_beams=beams, do_sample=sample, temperature=temperature,
        top_p=top_p, top_k=top_k, seed=seed, samples=samples,
    )  # fmt: skip
    if as_json:
        show_json([{**vars(answer), "model": model} for answer in answers])
        return
    for answer in answers:
        show_line(answer.text.strip())
    cut = sum(not answer.finished for answer in answers)
    if cut:
        notice(f"{cut} of {len(answers)} answers reached --max-new-tokens {max_new_tokens} and were cut off.")


@app.command()
def finetune(
    model: ModelName,
    data: Annotated[str, typer.Argument(help="A folder in xP3's layout, or a data set on the hub.")],
    out: Annotated[
        Path, typer.Option(help="Folder for the checkpoint; must be new, or that of an interrupted run.")
    ],
    preset: Annotated[str | None, typer.Option(help="Start from published settings: bloomz or mt0.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Number of optimizer steps.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Examples per step, over all processes.")] = None,
    accumulate: Annotated[
        int | None, typer.Option(min=1, help="Gradient accumulation: micro-batches per step and process.")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(parser=positive, metavar="FLOAT", help="Peak learning rate.")
    ] = None,
    languages: Languages = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Random seed for the order of the examples and for dropout.")
    ] = 0,
    dtype: Annotated[
        Literal["float32", "bfloat16"], typer.Option(help="Precision of the forward pass.")
    ] = "float32",
    max_input: Annotated[
        int | None, typer.Option(min=1, help="Longer inputs are truncated to this number of tokens.")
    ] = None,
    max_target: Annotated[
        int | None, typer.Option(min=1, help="Longer targets are truncated to this number of tokens.")
    ] = None,
) -> None:
    """Finetune a model on prompts and answers. An interrupted run resumes if the command is given again."""
    workbench.atomic.make_folder(out.absolute().parent)  # before the work, not after
    handle = workbench.load(model, device="cpu")
    chosen = workbench.training.settings_for(
        handle.identity, preset, steps=steps, batch=batch, accumulate=accumulate, learning_rate=learning_rate,
        seed=seed, dtype=dtype, max_input=max_input, max_target=max_target,
    )  # fmt: skip
    pool = workbench.training.mixtures.read(data, languages=names_in(languages), seed=seed)
    for line in workbench.training.describe(workbench.training.finetune(handle, pool, out, chosen)):
        show_line(line)


@app.command()
def convert(
    model: ModelName,
    to: Annotated[Literal["safetensors"], typer.Option(help="The format to write.")],
    output: Annotated[Path, typer.Option(help="Folder for the copy; must be new.")],
    revision: Revision = None,
) -> None:
    """Convert a model whose weights are published only as .bin files, which are not loaded, to safetensors."""
    folder = import_module("workbench.engines.transformers.convert").to_safetensors(
        model, output, revision=revision
    )
    show_line(f"wrote {to} to {folder}; load the model by that path")


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


def main(words: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit; an error is one sentence on stderr and a documented exit code.

    Args:
        words: The words after `workbench`; by default this process's arguments.
    """
    given = list(sys.argv[1:] if words is None else words)
    set_up_streams()
    warnings.showwarning = lambda message, *_, **__: notice(f"warning: {message}")
    command = partial(app, given, prog_name="workbench", standalone_mode=False)
    sys.exit(exit_code_of(command, given))
