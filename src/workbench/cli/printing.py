"""How the commands print: tables or JSON to stdout, notices to stderr.

Printed texts come from data, files and models: none is interpreted as markup, and control characters, with which a text
could rewrite the terminal, are escaped. JSON is exact.
"""

import json
import os
import re
import sys
from io import TextIOWrapper
from math import isfinite
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # C0 without tab and line feed, delete, C1
_C1 = re.compile(r"[\x7f-\x9f]")  # those that JSON would leave as they are


def show(rows: list[dict[str, Any]], as_json: bool = False, *, wrapped: str = "") -> None:
    """Print rows as a table, or as JSON; the column `wrapped` takes several lines where the table is too wide."""
    if as_json:
        show_json(rows)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in rows[0] if rows else []:
        table.add_column(
            as_text(column),
            justify="right" if column in ("parameters", "GB", "answers", "steps") else "left",
            no_wrap=column != wrapped,
            overflow="fold" if column == wrapped else "ellipsis",
        )
    for row in rows:
        table.add_row(*map(as_text, row.values()))
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def show_json(content: Any, *, indent: int | None = 1) -> None:
    """Print a value as JSON; without `indent`, on one line."""
    unicode = (sys.stdout.encoding or "utf-8").lower().startswith("utf")
    text = json.dumps(_without_nan(content), indent=indent, ensure_ascii=not unicode)
    print(_C1.sub(lambda found: f"\\u{ord(found[0]):04x}", text), flush=True)


def show_line(text: str) -> None:
    """Print a line of results."""
    print(harmless(text), flush=True)


def notice(text: str) -> None:
    """Print a line to stderr, apart from the results."""
    print(harmless(text), file=sys.stderr, flush=True)


def harmless(text: str) -> str:
    r"""Return the text with control characters escaped, as `\x1b`; tabs and line feeds stay."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def as_text(value: object) -> Text:
    """Return a value as a table cell that is printed verbatim."""
    return Text(harmless(str(value)))


def set_up_streams() -> None:
    """Make every text printable: characters outside the terminal's encoding are escaped; output to a closed stream is dropped."""
    sys.stdout = sys.stdout or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  as long as the process
    sys.stderr = sys.stderr or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _without_nan(content: Any) -> Any:
    """Replace NaN and infinities, which JSON cannot represent, by null."""
    if isinstance(content, dict):
        return {key: _without_nan(part) for key, part in content.items()}
    if isinstance(content, list | tuple):
        return [_without_nan(part) for part in content]
    return None if isinstance(content, float) and not isfinite(content) else content
