"""`workbench fetch`: what a run needs, downloaded before it."""

import sys
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from huggingface_hub.utils import disable_progress_bars

from workbench.cli.options import Json, Languages, names_in
from workbench.cli.printing import notice, show, show_json
from workbench.errors import BadInput


def fetch(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME...", help="Tasks, checkpoints or hub ids, and promptsource.")
    ],
    languages: Languages = None,
    revision: Annotated[
        str | None, typer.Option(help="A commit or branch on the hub; with one name only.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Look up what would be downloaded, and stop.")
    ] = False,
    log: Annotated[
        Path | None,
        typer.Option(
            help="The log, one line of JSON per name. Default: fetch.jsonl in workbench's cache folder."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Download the data of tasks, checkpoints, and the published prompts, so that runs need no network.

    What is here is not downloaded again, and an interrupted download is continued. The log has revisions and digests of what
    arrived, and no paths: send it as a report.
    """
    if revision is not None and len(names) > 1:
        raise BadInput("--revision applies to one name; fetch them one at a time")
    if not sys.stderr.isatty():
        disable_progress_bars()
    room = import_module("workbench.fetching")
    path = log or room.log_path()
    options = {"languages": names_in(languages), "revision": revision}
    found = []
    for name in names:
        found += (
            room.fetch(name, **options, dry_run=True) if dry_run else room.fetch_logged(name, path, **options)
        )
    for one in found:
        for note in (*one.notes, f"in {one.folder}"):
            notice(f"{one.name}: {note}")
    if as_json:
        show_json([asdict(one) for one in found])
    else:
        show([_row(one) for one in found])
    notice("nothing was downloaded" if dry_run else f"the log is {path}")


def _row(one: Any) -> dict[str, Any]:
    return {
        "name": one.name,
        "revision": one.revision,
        "commit": one.commit[:12],
        "files": len(one.files),
        "MB": f"{one.size / 1e6:,.1f}",
        "new MB": f"{one.new / 1e6:,.1f}",
        "rows": sum(one.rows.values()) or "",
    }
