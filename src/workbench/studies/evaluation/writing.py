"""An evaluation on disk: every item, the tables in three formats, and the metadata."""

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

import workbench
from workbench.atomic import write_atomically
from workbench.errors import StoreFailed
from workbench.models import Model
from workbench.studies.evaluation.planning import Plan

_LIBRARIES = ("torch", "transformers", "tokenizers", "numpy", "pandas")


def write(
    folder: Path,
    ranked: pd.DataFrame,
    tables: Mapping[str, pd.DataFrame],
    plan: Plan,
    models: Mapping[str, Model],
    badge: str,
) -> list[Path]:
    """Write `items.parquet`, each table as CSV, Markdown and LaTeX, and `evaluation.json`, which comes last.

    Files of the same names from an earlier evaluation are replaced.

    Raises:
        StoreFailed: a file could not be written.
    """
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "evaluation.json").unlink(missing_ok=True)
        aside = folder / ".items.parquet"
        ranked.to_parquet(aside, index=False)
        written.append(aside.replace(folder / "items.parquet"))
    except OSError as error:
        raise StoreFailed(
            f"could not write in {folder}: {error}; free some space or name another folder with --out"
        ) from error
    said = f"{badge}: {', '.join(models)} on {plan.task} ({plan.source}), wordings: {plan.wordings}, {plan.prompt_language}"
    said += f"\nCONTAMINATED: {plan.contaminated}" if plan.contaminated else ""
    for name, table in tables.items():
        texts = {
            "csv": _inert(table).to_csv(index=False),
            "md": f"{said}\n\n{markdown(table)}",
            "tex": _comment(said) + latex(table),
        }
        for kind, text in texts.items():
            write_atomically(folder / f"{name}.{kind}", text)
            written.append(folder / f"{name}.{kind}")
    facts = json.dumps(_facts(ranked, plan, models, badge), indent=1, ensure_ascii=False)
    write_atomically(folder / "evaluation.json", facts + "\n")
    return [*written, folder / "evaluation.json"]


def _facts(ranked: pd.DataFrame, plan: Plan, models: Mapping[str, Model], badge: str) -> dict[str, Any]:
    about = {
        name: {
            **model.provenance,
            **model.tally.facts(),
            "audits": {protocol: audit.facts() for protocol, audit in model.audits.items()},
        }
        for name, model in models.items()
    }
    return {
        "badge": badge,
        "task": plan.task,
        "source": plan.source,
        "data_digest": plan.data_digest,
        "contaminated": plan.contaminated,
        "languages": list(plan.languages),
        "prompt_language": plan.prompt_language,
        "wordings": plan.wordings,
        "templates": {f"{t.name} [{t.language}]": t.digest for t in plan.templates},
        "skipped": dict(plan.skipped),
        "shots": plan.shots,
        "protocols": sorted(set(ranked["protocol"])),
        "models": about,
        "workbench": workbench.__version__,
        "libraries": {name: version(name) for name in _LIBRARIES},
    }


def _inert(table: pd.DataFrame) -> pd.DataFrame:
    """Prefix texts that a spreadsheet would run as formulas (template names may come from others) with an apostrophe."""
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
