"""How the commands print: tables to people, JSON to programs, notices to stderr."""

import json
import sys
from typing import Any

import typer
from rich.console import Console
from rich.table import Table


def show(rows: list[dict[str, Any]], as_json: bool = False) -> None:
    """Print rows as a table, or as JSON."""
    if as_json:
        show_json(rows)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in rows[0] if rows else []:
        table.add_column(
            column,
            justify="right" if column in ("parameters", "GB", "answers", "steps") else "left",
            no_wrap=True,
        )
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def show_json(content: Any) -> None:
    """Print something for programs."""
    typer.echo(json.dumps(content, indent=1, ensure_ascii=False))


def notice(text: str) -> None:
    """Tell people something, beside the results."""
    typer.echo(text, err=True)
