"""Make an answer pack: run the notebooks of a preset with a store of their own, and gather what they asked and gave."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench import family
from workbench.atomic import make_folder
from workbench.errors import BadInput
from workbench.models.places import locate
from workbench.runs.answer_packs import ANSWERS, EXPECTED, write_sums
from workbench.runs.expected import expect_portable
from workbench.runs.node_stores import store_at
from workbench.runs.notebooks import find_notebook
from workbench.runs.plans import plan
from workbench.runs.presets import Preset, read_preset
from workbench.runs.supervise import Run, Supervision, run_plan
from workbench.runs.verifying import accept
from workbench.store.export import export_pack
from workbench.store.packs import PackInfo

_OF_A_RUN = ("metrics.json", "report.html")
_OF_THIS_MACHINE = ("notebook_path", "git")


@dataclass(frozen=True)
class Packed:
    """An answer pack that was made: its folder, the content of its answers, and its runs."""

    folder: Path
    answers: PackInfo
    runs: tuple[Run, ...]


def make_pack(
    preset: str,
    folder: Path,
    *,
    models: Sequence[str] = (),
    note: str = "",
    limit: float | None = None,
    watch: Callable[[Run], None] = lambda _: None,
) -> Packed:
    """Run the notebooks of a preset, and write an answer pack; if interrupted, call it again to continue.

    The runs use a store in a folder beside the pack's, which is deleted at the end: the pack contains what these runs asked, and
    nothing else.

    Args:
        preset: Its name, or a TOML file.
        folder: The pack's; it must not exist.
        models: Checkpoints that replace those of the preset (`Preset.with_models`).
        note: A sentence for the README, as on what the weights are.
        limit: Time limit of each run in seconds.
        watch: Called with each run when it is done.

    Raises:
        BadInput, UnknownName: before anything starts: the folder exists, the preset has no runs, or it names a folder or a file of
            this machine.
        WorkbenchError, KeyboardInterrupt: as `run`.
    """
    chosen = read_preset(preset).with_models(models)
    if folder.exists():
        raise BadInput(f"{folder} exists; name a new folder for the pack")
    if not chosen.run:
        raise BadInput(f"the preset {preset!r} is a sweep and has no single runs; a pack is made of runs")
    plans = [plan(find_notebook(name), values) for name, values in chosen.run.items()]
    for each in plans:
        expect_portable(each.given)
        _expect_names(each.models)
    work = folder.with_name(f".{folder.name}.part")
    make_folder(work)
    with store_at(work / "store.sqlite") as store:
        runs = []
        for each in plans:
            runs.append(run_plan(each, root=work / "work", how=Supervision(limit)))
            watch(runs[-1])
        new = work / "pack"
        shutil.rmtree(new, ignore_errors=True)
        make_folder(new)
        answers = export_pack(store, new / ANSWERS)
    for done in runs:
        _keep(done, new, Path(preset).stem)
    (new / "preset.toml").write_text(_as_toml(chosen), encoding="utf-8")
    (new / "README.md").write_text(_readme(chosen, answers, runs, folder.name, note), encoding="utf-8")
    write_sums(new)
    new.rename(folder)
    shutil.rmtree(work)
    return Packed(folder, answers, tuple(runs))


def _expect_names(models: Sequence[str]) -> None:
    for name in models:
        if locate(name).hub_id is None and name not in family.shipped():
            raise BadInput(
                f"{name!r} is a folder of this machine; an answer pack names models that others have: give a name or a hub id"
            )


def _keep(done: Run, pack: Path, case: str) -> None:
    """Copy what a run says of itself, and write what it gave as expected values."""
    accept(done.folder, case, pack / EXPECTED)
    notebook = str(done.manifest["notebook"])
    make_folder(pack / "runs" / notebook)
    manifest = {name: value for name, value in done.manifest.items() if name not in _OF_THIS_MACHINE}
    text = json.dumps(manifest, indent=1, ensure_ascii=False)
    (pack / "runs" / notebook / "run.json").write_text(text, encoding="utf-8")
    for name in _OF_A_RUN:
        if (done.folder / name).exists():
            shutil.copy(done.folder / name, pack / "runs" / notebook / name)


def _as_toml(preset: Preset) -> str:
    lines = [f"about = {_value(preset.about)}"]
    for notebook, values in preset.run.items():
        lines += ["", f"[run.{notebook}]", *(f"{name} = {_value(value)}" for name, value in values.items())]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)  # texts, numbers, booleans and lists are written as in JSON


def _readme(preset: Preset, answers: PackInfo, runs: Sequence[Run], name: str, note: str) -> str:
    facts: dict[str, Any] = {}
    for done in runs:
        facts |= done.manifest.get("facts", {}).get("models", {})
    rows = [
        f"| {label} | {about.get('hub_id') or '–'} | {about.get('commit') or '–'} | `{about['weights_digest'][:16]}` |"
        for label, about in sorted(facts.items())
    ]
    first = next(iter(preset.run))
    took = [f"| {r.manifest['notebook']} | {r.manifest['seconds']:.0f} | {_devices(r)} |" for r in runs]
    return "\n".join(
        [
            f"# Answer pack {name}",
            *([f"**{note}**", ""] if note else []),
            f"{answers.answers:,} answers of {len(facts)} models: {preset.about or preset.name}. They were computed once; with them the "
            "notebooks run without weights, offline, on any machine.",
            "",
            "```sh",
            f"workbench verify {name}            # repeats the runs from these answers and compares what they give",
            f"workbench store import {name}      # takes the answers into your store",
            f"workbench run {first} --preset {name}/preset.toml",
            "```",
            "A run that needs an answer missing from the pack ends with exit code 5 and lists what is missing.",
            "",
            "| model | hub | commit | weights and settings, SHA-256 |",
            "|---|---|---|---|",
            *rows,
            "",
            "| run | seconds | computed on |",
            "|---|---|---|",
            *took,
            "",
            "`sha256sum -c SHA256SUMS` checks the files. The answers are text and numbers made by the models above: their licences say "
            "what may be done with them.",
            "",
        ]
    )


def _devices(done: Run) -> str:
    hardware = done.manifest.get("hardware", {})
    return (
        ", ".join(hardware.get("gpus") or []) or f"{hardware.get('processor')}, {hardware.get('cores')} cores"
    )
