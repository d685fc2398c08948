"""`workbench evaluate`: models on a task, in several languages and wordings; tables, figures, and the published scores beside."""

import json
import re
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

import workbench
from workbench.cli.options import Device, Dtype, Json, Languages, fraction, names_in
from workbench.cli.printing import notice, show, show_json, show_line
from workbench.errors import BadInput

_NAME_BYTES = 100  # of a folder's name; file systems take 255


def evaluate(
    models: Annotated[list[str], typer.Argument(help="One or more models, then the task: MODEL… TASK.")],
    languages: Languages = None,
    templates: Annotated[
        Path | None, typer.Option(help="A checkout of promptsource, or a TOML file; ours by default.")
    ] = None,
    template: Annotated[
        list[str] | None,
        typer.Option(help="Names of templates; the published five by default. May be repeated."),
    ] = None,
    prompt_language: Annotated[
        Literal["en", "native", "mt", "ht"],
        typer.Option(
            help="Of the wordings: English; ours in the data's language; promptsource's translated ones."
        ),
    ] = "en",
    data: Annotated[Path | None, typer.Option(help="A file or folder in the published schema.")] = None,
    data_revision: Annotated[str | None, typer.Option(help="Of the data set on the hub.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Meanings per language, from the first.")] = None,
    shots: Annotated[int, typer.Option(min=0, help="Answered exemplars before each question.")] = 0,
    shots_language: Annotated[
        str | None, typer.Option(help="Of the exemplars; the item's by default.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Which exemplars.")] = 0,
    protocol: Annotated[str | None, typer.Option(help="How choices are scored; xmtf by default.")] = None,
    margin: Annotated[
        float,
        typer.Option(
            parser=fraction, metavar="FLOAT", help="Models closer than this count as equal (a fraction)."
        ),
    ] = 0.05,
    dtype: Dtype = "float32",
    device: Device = "auto",
    revision: Annotated[str | None, typer.Option(help="Of the model on the hub; one model only.")] = None,
    batch_tokens: Annotated[
        int | None, typer.Option(min=1, help="At most so many tokens at a time, which bounds the memory.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="A folder for items, tables and figures.")] = None,
    plan_only: Annotated[bool, typer.Option("--forecast", help="Say what it takes, and stop.")] = False,
    as_json: Json = False,
) -> None:
    """Rank a task's choices with one or several models: MODEL… TASK. Stopped and started again, it goes on."""
    *names, task = models
    if not names or len(set(names)) < len(names):
        raise BadInput(
            f"got {' '.join(models)!r}; give one or more different models, then the task: MODEL… TASK"
        )
    if revision is not None and len(names) > 1:
        raise BadInput("a revision belongs to one model; evaluate one model at a time")
    room = import_module("workbench.studies.evaluation")
    handles = {name: workbench.load(name, dtype=dtype, device=device, revision=revision) for name in names}
    badge = workbench.figures.badge_for(*handles.values())
    plan = room.make_plan(
        task, names_in(languages), prompt_language=prompt_language, templates=templates,
        names=template or None, data=data, revision=data_revision, limit=limit, shots=shots,
        shots_language=shots_language, seed=seed,
    )  # fmt: skip
    _warn(plan)
    if plan_only:
        for name, handle in handles.items():
            show_line(f"{name}: {room.describe(room.forecast(handle, plan))}")
        return
    folder = out or Path("runs/evaluate") / folder_name([task, *names])
    workbench.atomic.make_folder(folder)  # before hours of work, not after
    parts = [_ask(room, handle, plan, protocol, batch_tokens) for handle in handles.values()]
    ranked = import_module("pandas").concat(parts, ignore_index=True)
    tables = _tables(room, ranked, plan, names, margin)
    written = room.write(folder, ranked, tables, plan, handles, badge)
    written += _draw(tables["by_language"], tables["by_template"], folder, badge, plan)
    _tell(room, tables, badge, as_json)
    notice(f"{len(written)} files in {folder}, among them items.parquet with every score")


def folder_name(names: list[str]) -> str:
    """Task and models; where they do not fit or were changed, a beginning and 8 digits of a hash of all of them."""
    name = "-".join(re.sub(r"[^\w.-]+", "_", each) for each in names)
    if name == "-".join(names) and len(name.encode()) <= _NAME_BYTES:
        return name
    start = name.encode()[: _NAME_BYTES - 9].decode(errors="ignore")
    return f"{start}-{sha256(json.dumps(names).encode()).hexdigest()[:8]}"


def _warn(plan: Any) -> None:
    if plan.contaminated:
        notice(f"contaminated: {plan.contaminated}; scores of models finetuned on it say little")
    if plan.untested:
        notice(
            f"{plan.source}: nobody had tried this path of the hub; look at the rows, or give a local copy with --data"
        )


def _ask(room: Any, handle: Any, plan: Any, protocol: str | None, batch_tokens: int | None) -> Any:
    return room.evaluate(
        handle, plan, protocol=protocol, batch_tokens=batch_tokens,
        report=lambda line: notice(f"{handle.name}: {line}"),
    )  # fmt: skip


def _tables(room: Any, ranked: Any, plan: Any, names: list[str], margin: float) -> dict[str, Any]:
    tables = {"by_language": room.by_language(ranked), "by_template": room.by_template(ranked)}
    for other in names[1:]:
        found = room.compare(ranked, names[0], other, margin=margin)
        found.insert(0, "models", f"{names[0]} / {other}")
        before = tables.get("comparison")
        tables["comparison"] = found if before is None else import_module("pandas").concat([before, found])
    published = room.beside_published(ranked, plan)
    return {**tables, "published": published} if len(published) else tables


def _draw(languages: Any, templates: Any, folder: Path, badge: str, plan: Any) -> list[Path]:
    room = workbench.figures
    note = f"{plan.task}, {plan.source}; wordings: {plan.wordings}; 95 % intervals over meanings."
    first = room.intervals(
        languages, x="mean", y="language", low="low", high="high", group="model", reference="chance",
        reference_label="chance", title=f"{plan.task}: accuracy, mean of the wordings", xlabel="accuracy",
    )  # fmt: skip
    grid = templates.assign(wording=templates["model"] + " · " + templates["template"])
    second = room.heatmap(
        grid, rows="wording", columns="language", values="accuracy", low=0, high=1,
        title=f"{plan.task}: accuracy of each wording",
    )  # fmt: skip
    alt = f"Accuracy on {plan.task} by language for {', '.join(dict.fromkeys(languages['model']))}, beside chance"
    return [
        *room.save(first, folder, name="by_language", badge=badge, alt=alt, note=note),
        *room.save(
            second, folder, name="by_template", badge=badge, alt=f"{alt}, wording by wording", note=note
        ),
    ]


def _tell(room: Any, tables: dict[str, Any], badge: str, as_json: bool) -> None:
    if as_json:
        records = {name: json.loads(table.to_json(orient="records")) for name, table in tables.items()}
        show_json({"badge": badge, **records})
        return
    for name, table in tables.items():
        if name != "by_template" or len(table) <= 40:
            show_line(f"[{badge}] {name.replace('_', ' ')}")
            show(room.rounded(table).to_dict("records"))
