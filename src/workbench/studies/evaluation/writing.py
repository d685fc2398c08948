"""An evaluation on disk: every item, the tables in three formats, and the metadata."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from workbench.atomic import write_atomically
from workbench.errors import StoreFailed


def write(
    folder: Path,
    items: pd.DataFrame,
    tables: Mapping[str, pd.DataFrame],
    facts: Mapping[str, Any],
    heading: str,
) -> list[Path]:
    """Write `items.parquet`, each table as CSV, Markdown and LaTeX, and the facts as `evaluation.json`, which comes last.

    Files of the same names from an earlier evaluation are replaced.

    Raises:
        StoreFailed: a file could not be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "evaluation.json").unlink(missing_ok=True)
        aside = folder / ".items.parquet"
        items.to_parquet(aside, index=False)
        written = [aside.replace(folder / "items.parquet")]
    except OSError as error:
        raise StoreFailed(
            f"could not write in {folder}: {error}; free some space or name another folder"
        ) from error
    texts = {
        f"{name}.{kind}": text
        for name, table in tables.items()
        for kind, text in _formats(table, heading).items()
    }
    texts["evaluation.json"] = json.dumps(facts, indent=1, ensure_ascii=False) + "\n"
    for name, text in texts.items():
        write_atomically(folder / name, text)
        written.append(folder / name)
    return written


def _formats(table: pd.DataFrame, heading: str) -> dict[str, str]:
    return {
        "csv": _inert(table).to_csv(index=False),
        "md": f"{heading}\n\n{markdown(table)}",
        "tex": _comment(heading) + latex(table),
    }


def _inert(table: pd.DataFrame) -> pd.DataFrame:
    """Prefix texts that a spreadsheet would evaluate as formulas (template names may come from others) with an apostrophe."""
    return table.map(
        lambda v: f"'{v}" if isinstance(v, str) and v.startswith(("=", "+", "-", "@", "\t", "\r")) else v
    )


def _comment(text: str) -> str:
    return "".join(f"% {line}\n" for line in text.splitlines())


def rounded(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table for display: three digits, and empty cells for missing values."""
    shown = table.round(3).astype(object)
    return shown.where(table.notna(), "")


def markdown(table: pd.DataFrame) -> str:
    """Return a table as Markdown, with numbers aligned right."""
    right = {name for name in table if pd.api.types.is_numeric_dtype(table[name])}
    rounds = rounded(table)
    lines = [list(map(str, table.columns)), ["--:" if name in right else "---" for name in table]]
    lines += [[_cell(value) for value in row] for row in rounds.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def latex(table: pd.DataFrame) -> str:
    """Return a table as LaTeX with booktabs' rules; special characters are escaped."""
    columns = "".join("r" if pd.api.types.is_numeric_dtype(table[name]) else "l" for name in table)
    styler = (
        rounded(table)
        .map(str)
        .style.hide(axis="index")
        .format(escape="latex")
        .format_index(escape="latex", axis=1)
    )
    text: str = styler.to_latex(hrules=True, column_format=columns)
    return text


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
