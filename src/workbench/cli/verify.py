"""`workbench verify`: repeat runs and compare them with expected values."""

from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

import workbench
from workbench.cli.options import Expected, Json, Limit
from workbench.cli.printing import notice, show
from workbench.errors import ResultsDiffer

_ENVIRONMENT_DIFFERS = 4


def verify(
    what: Annotated[
        str | None,
        typer.Argument(
            help="A run's folder, that of an answer pack, or NOTEBOOK\\[/CASE] of the expected values; all by default."
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="How many runs at a time.")] = 1,
    expected: Expected = None,
    limit: Limit = None,
    other_hardware: Annotated[
        bool,
        typer.Option(
            "--other-hardware", help="Ask only whether the stored intervals contain the new values."
        ),
    ] = False,
    strict_env: Annotated[
        bool, typer.Option("--strict-env", help="Exit 4 if versions are not those of the expected values.")
    ] = False,
    keep: Annotated[Path | None, typer.Option(help="Keep the new runs in this folder.")] = None,
    as_json: Json = False,
) -> None:
    """Repeat runs from an empty store, or from a pack's answers, and print the differences; exit code 3 if there are any."""
    room = workbench.runs
    is_pack = what is not None and import_module("workbench.runs.answer_packs").is_answer_pack(Path(what))
    verdicts = room.verify(
        room.find_cases(what, expected),
        workers=workers,
        limit=limit,
        other_hardware=other_hardware,
        keep=keep,
        answers=Path(str(what)) if is_pack else None,
    )
    found = [(verdict.case, each) for verdict in verdicts for each in verdict.differences]
    rows = difference_rows(sorted(found, key=lambda pair: -pair[1].off))
    if rows or as_json:
        show(rows, as_json)
    for verdict in verdicts:
        _report(verdict)
    worst = max(verdict.ending.exit_code for verdict in verdicts)
    if worst:
        raise typer.Exit(worst)
    if rows:
        raise ResultsDiffer(
            f"{len(rows)} differences in {len({case for case, _ in found})} of {len(verdicts)} cases"
        )
    if strict_env and any(verdict.drift for verdict in verdicts):
        raise typer.Exit(_ENVIRONMENT_DIFFERS)


def _report(verdict: Any) -> None:
    outcome = "as expected" if verdict.is_as_expected else f"{len(verdict.differences)} differences"
    notice(f"{verdict.case}: {verdict.ending.message if verdict.ending.exit_code else outcome}")
    if verdict.drift:
        notice(f"  versions differ from those of the expected values: {', '.join(verdict.drift)}")


def difference_rows(found: list[tuple[str, Any]]) -> list[dict[str, Any]]:
    """Return (case, difference) pairs as rows of a table."""
    return [
        {
            "case": case,
            "what": each.what,
            "tier": each.tier,
            "expected": each.expected,
            "got": each.got,
            "off by": "" if each.off == float("inf") else f"{each.off:.3g} ×",
        }
        for case, each in found
    ]
