"""The command `workbench`: parses arguments, calls the package, prints.

By default the output is a table to read, with `--json` it is for programs; notices go to stderr. The package's modules are
reached as attributes of `workbench`, which imports them on first use, so that `--help` is quick.
"""

import sys
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

import workbench
from workbench.cli import accept, convert, fetch, grade, models, pack, run, serve, store, sweep, verify
from workbench.cli.boundary import exit_code_of
from workbench.cli.evaluate import evaluate
from workbench.cli.options import Device, Dtype, Json, Languages, Quantization, Revision, names_in, positive
from workbench.cli.printing import notice, set_up_streams, show_json, show_line

app = typer.Typer(
    help="Study crosslingual generalization with BLOOMZ and mT0.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(store.app, name="store")
for _name, _commands in workbench.family.registered("workbench.commands"):
    app.add_typer(_commands, name=_name)
app.command("models")(models.models)
app.command()(evaluate)
app.command("fetch")(fetch.fetch)
app.command("convert")(convert.convert)
app.command("run", context_settings=run.EXTRA)(run.run)
app.command("pack")(pack.pack)
app.command("serve")(serve.serve)
app.command("sweep")(sweep.sweep)
app.command("verify")(verify.verify)
app.command("accept")(accept.accept)
app.command("grade")(grade.grade)
app.command("register")(grade.register)

ModelName = Annotated[
    str,
    typer.Argument(
        help="A name that `workbench models` lists, a hub id, a folder, a .gguf file, or a server's address and #NAME."
    ),
]


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
