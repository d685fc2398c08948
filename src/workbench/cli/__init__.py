"""The command `workbench`: a thin face over the rooms.

Tables go to people, `--json` to programs; notices go to stderr. Rooms are reached as attributes of `workbench`, which
imports them on first use, so `--help` is quick.
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
from workbench.cli import accept, run, store, sweep, verify
from workbench.cli.boundary import exit_code_of
from workbench.cli.evaluate import evaluate
from workbench.cli.options import Device, Dtype, Json, Languages, Revision, names_in, positive
from workbench.cli.printing import notice, set_up_streams, show, show_json, show_line

app = typer.Typer(
    help="Study crosslingual generalization with BLOOMZ and mT0.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(store.app, name="store")
for _name, _commands in workbench.family.plugged("workbench.commands"):
    app.add_typer(_commands, name=_name)
app.command()(evaluate)
app.command("run", context_settings=run.EXTRA)(run.run)
app.command("sweep")(sweep.sweep)
app.command("verify")(verify.verify)
app.command("accept")(accept.accept)

ModelName = Annotated[str, typer.Argument(help="A name of the family, a hub id, or a folder.")]


@app.command()
def models(as_json: Json = False) -> None:
    """List the families: sizes, mixtures, prompt languages, memory, and what is on this machine."""
    rows = [_describe(one) for family in workbench.family.families() for one in family.checkpoints]
    show(rows, as_json)
    if not as_json:
        notice(
            "A value marked ? rests on a secondary source. GB are the weights alone, in float32 and bfloat16."
        )


@app.command()
def generate(
    model: ModelName,
    prompts: Annotated[list[str], typer.Argument(help="One or more prompts.")],
    max_new_tokens: Annotated[int, typer.Option(min=1, help="The longest answer, in tokens.")] = 64,
    dtype: Dtype = "float32",
    device: Device = "auto",
    revision: Revision = None,
    beams: Annotated[int, typer.Option(min=1, help="Beams; 1 is greedy.")] = 1,
    sample: Annotated[bool, typer.Option("--sample", help="Sample instead of greedy; needs --seed.")] = False,
    temperature: Annotated[
        float, typer.Option(parser=positive, metavar="FLOAT", help="With --sample.")
    ] = 1.0,
    top_p: Annotated[
        float, typer.Option(parser=positive, metavar="FLOAT", help="With --sample; at most 1.")
    ] = 1.0,
    top_k: Annotated[int, typer.Option(min=0, help="With --sample; 0 cuts nothing.")] = 0,
    seed: Annotated[int | None, typer.Option(min=0, help="With --sample.")] = None,
    samples: Annotated[int, typer.Option(min=1, help="With --sample: how many per prompt.")] = 1,
    as_json: Json = False,
) -> None:
    """Answer prompts; an answer given once comes from the store."""
    handle = workbench.load(model, dtype=dtype, device=device, revision=revision)
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
        notice(f"{cut} of {len(answers)} answers reached --max-new-tokens {max_new_tokens} and may go on.")


@app.command()
def finetune(
    model: ModelName,
    data: Annotated[str, typer.Argument(help="A folder in xP3's layout, or a data set of the hub.")],
    out: Annotated[Path, typer.Option(help="A new folder for the checkpoint.")],
    preset: Annotated[str | None, typer.Option(help="Published settings: bloomz or mt0.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Updates.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Pairs per step, over all processes.")] = None,
    accumulate: Annotated[int | None, typer.Option(min=1, help="Micro-batches per step and process.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option(parser=positive, metavar="FLOAT", help="The highest.")
    ] = None,
    languages: Languages = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of what is drawn, and of dropout.")] = 0,
    dtype: Annotated[
        Literal["float32", "bfloat16"], typer.Option(help="What forward passes compute in.")
    ] = "float32",
    max_input: Annotated[int | None, typer.Option(min=1, help="Tokens after which an input is cut.")] = None,
    max_target: Annotated[int | None, typer.Option(min=1, help="Tokens after which a target is cut.")] = None,
) -> None:
    """Finetune a model on prompts; stopped and started again, it goes on."""
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
    output: Annotated[Path, typer.Option(help="A new folder for the copy.")],
    revision: Revision = None,
) -> None:
    """Make a loadable copy of a model whose weights are only there as .bin."""
    folder = import_module("workbench.engines.transformers.convert").to_safetensors(
        model, output, revision=revision
    )
    show_line(f"{to} in {folder}: load it by that path")


def _describe(checkpoint: Any) -> dict[str, Any]:
    unsure = set(checkpoint.unverified)
    gigabytes = [workbench.family.memory_needed(checkpoint, dtype) / 1e9 for dtype in ("float32", "bfloat16")]
    fields = {
        "name": checkpoint.name,
        "side": {"bloom": "BLOOM", "mt5": "mT5"}.get(checkpoint.architecture, checkpoint.architecture),
        "parameters": f"{checkpoint.parameters:,}",
        "mixture": checkpoint.mixture,
        "prompts": checkpoint.prompt_language,
        "steps": "" if checkpoint.steps is None else f"{checkpoint.steps:,}",
        "GB": "{:.3g} / {:.3g}".format(*gigabytes),
        "here": workbench.models.places.whereabouts(checkpoint.name),
    }
    return {
        key: f"{value}?" if {"prompts": "prompt_language"}.get(key, key) in unsure else value
        for key, value in fields.items()
    }


def main(words: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit; an error is one sentence on stderr and the contract's exit code.

    Args:
        words: What comes after `workbench`; this process's arguments by default.
    """
    given = list(sys.argv[1:] if words is None else words)
    set_up_streams()
    warnings.showwarning = lambda message, *_, **__: notice(f"warning: {message}")
    command = partial(app, given, prog_name="workbench", standalone_mode=False)
    sys.exit(exit_code_of(command, given))
