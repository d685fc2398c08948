"""`workbench evaluate`: several models on a task, in several languages and with several templates."""

import json
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

import workbench
from workbench.cli.options import Device, Dtype, Json, Languages, Quantization, fraction, names_in
from workbench.cli.printing import notice, show, show_json, show_line
from workbench.errors import BadInput

_PRINTED_ROWS = 40  # a longer table of templates is only written


def evaluate(
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL... TASK", help="One or more models, then the task.")
    ],
    languages: Languages = None,
    templates: Annotated[
        Path | None,
        typer.Option(help="A checkout of promptsource, or a TOML file. Default: our own templates."),
    ] = None,
    template: Annotated[
        list[str] | None,
        typer.Option(
            help="Use only this template; may be repeated. Default: the five published ones, or all of ours."
        ),
    ] = None,
    prompt_language: Annotated[
        Literal["en", "native", "mt", "ht"],
        typer.Option(
            help="Language of the templates: en (English), native (ours in the language of the data), mt or ht "
            "(promptsource's machine or human translations)."
        ),
    ] = "en",
    data: Annotated[
        Path | None,
        typer.Option(
            help="A file or folder of rows in the published schema. Default: what ships with the package, or the hub."
        ),
    ] = None,
    data_revision: Annotated[
        str | None, typer.Option(help="A commit or branch of the data set on the hub.")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Number of examples per language, drawn with the seed. Default: all."),
    ] = None,
    shots: Annotated[
        int, typer.Option(min=0, help="Number of answered demonstrations before each question.")
    ] = 0,
    shots_language: Annotated[
        str | None, typer.Option(help="Language of the demonstrations. Default: that of the question.")
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Random seed for choosing demonstrations and, with a limit, examples.")
    ] = 0,
    protocol: Annotated[
        str | None,
        typer.Option(help="How choices are scored: xmtf, per-token, pmi or lm-eval. Default: xmtf."),
    ] = None,
    margin: Annotated[
        float,
        typer.Option(
            parser=fraction,
            metavar="FLOAT",
            help="Models whose accuracies differ by less than this fraction count as equivalent.",
        ),
    ] = 0.05,
    dtype: Dtype = "float32",
    quantization: Quantization = None,
    device: Device = "auto",
    revision: Annotated[
        str | None, typer.Option(help="A commit or branch of the model on the hub; with one model only.")
    ] = None,
    batch_tokens: Annotated[
        int | None, typer.Option(min=1, help="Largest number of tokens in a batch; bounds the memory.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for items, tables and figures. Default: a folder in runs/evaluate, one for each evaluation."
        ),
    ] = None,
    forecast: Annotated[
        bool, typer.Option("--forecast", help="Print what the evaluation would cost, and stop.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Evaluate models on a task by ranking its answer choices.

    Prints the accuracies and writes items, tables and figures to a folder. Every answer is stored: an interrupted
    evaluation resumes if the command is given again.
    """
    *names, task = models
    if not names:
        raise BadInput(f"got only {task!r}; give one or more models, then the task: MODEL... TASK")
    if revision is not None and len(names) > 1:
        raise BadInput("--revision applies to one model; evaluate the models one at a time")
    room = import_module("workbench.studies.evaluation")
    plan = room.make_plan(
        task, names_in(languages), prompt_language=prompt_language, templates=templates,
        names=template or None, data=data, revision=data_revision, limit=limit, shots=shots,
        shots_language=shots_language, seed=seed,
    )  # fmt: skip
    how = {"dtype": dtype, "quantization": quantization, "device": device, "revision": revision}
    handles = [workbench.load(name, **how) for name in names]
    spec = room.EvaluationSpec(handles, plan, protocol=protocol, margin=margin)
    for warning in plan.warnings:
        notice(warning)
    if forecast:
        for handle in handles:
            show_line(f"{handle.name}: {room.describe(room.forecast(handle, plan))}")
        return
    folder = out or spec.folder
    workbench.atomic.make_folder(folder)  # before hours of work, not after
    result = spec.run(batch_tokens=batch_tokens)
    written = [*result.write(folder), *workbench.figures.draw_evaluation(result, folder)]
    _print(room, result, as_json)
    notice(f"wrote {len(written)} files to {folder}; items.parquet has the score of every choice")


def _print(room: Any, result: Any, as_json: bool) -> None:
    badge = result.spec.badge
    if as_json:
        records = {name: json.loads(table.to_json(orient="records")) for name, table in result.tables.items()}
        show_json({"badge": badge, **records})
        return
    for name, table in result.tables.items():
        if name != "by_template" or len(table) <= _PRINTED_ROWS:
            show_line(f"[{badge}] {name.replace('_', ' ')}")
            show(room.rounded(table).to_dict("records"))
