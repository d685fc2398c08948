"""The page over all runs: the newest success of each notebook with its answer and figures, and what failed."""

import json
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

import mistune

from workbench.atomic import make_folder, write_atomically
from workbench.errors import StoreFailed
from workbench.runs.folders import MARK, runs_in
from workbench.runs.page import circumstances, facts_table, figure, page

_BADGES = {
    "PUBLISHED": "recomputed from the authors' scores",
    "MEASURED": "measured on the checkpoint named",
    "SYNTHETIC": "from an artificial world; says nothing about checkpoints that read real text",
}


def write_index(root: Path | str = Path("runs")) -> Path:
    """Write `root/index.html`, one self-contained page, and return its path.

    Raises:
        StoreFailed: a run's file that cannot be read, or a disk that did not take the page.
    """
    root = Path(root).expanduser().absolute()
    runs = [(folder, _read(folder / "run.json")) for folder in runs_in(root)]
    newest: dict[str, tuple[Path, dict[str, Any]]] = {}
    for folder, manifest in sorted(runs, key=lambda pair: str(pair[1]["ended"])):
        if (folder / MARK).exists():
            newest[manifest["notebook"]] = (folder, manifest)
    failed = [
        (folder, manifest)
        for folder, manifest in runs
        if manifest["status"] != "done" and not _made_good(folder, manifest, newest)
    ]
    sections = [_section(root, folder, manifest) for _, (folder, manifest) in sorted(newest.items())]
    body = (
        _top(sorted(newest))
        + "<main>"
        + "".join(sections)
        + _sweeps(root)
        + _failures(root, failed)
        + "</main>"
        + _footer(newest)
    )
    make_folder(root)
    write_atomically(root / "index.html", page("workbench: runs", body))
    return root / "index.html"


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreFailed(
            f"cannot read {path}: {error}; delete that run's folder and run it again"
        ) from error
    return content


def _top(notebooks: list[str]) -> str:
    links = "".join(f'<a href="#{escape(name)}">{escape(_words(name))}</a>' for name in notebooks)
    legend = " · ".join(f'<span class="badge {name}">{name}</span> {text}' for name, text in _BADGES.items())
    return (
        '<header class="top"><h1>What the notebooks found</h1>'
        "<p>The newest successful run of each notebook: its computed answer, its figures, and what it was run with.</p>"
        f"<p>{legend}</p><nav>{links}</nav></header>"
    )


def _section(root: Path, folder: Path, manifest: dict[str, Any]) -> str:
    name = str(manifest["notebook"])
    here = folder.relative_to(root).as_posix()
    answer = f'<div class="answer">{_markdown(manifest["answer"])}</div>' if manifest.get("answer") else ""
    made = sorted(folder.glob("figures/*.json"), key=lambda path: (path.stat().st_mtime, path.name))
    figures = "".join(figure(_read(path), path.with_suffix(".png"), here) for path in made)
    ended = datetime.fromisoformat(manifest["ended"]).strftime("%d %B %Y, %H:%M UTC")
    return (
        f'<section id="{escape(name)}"><h2>{escape(_title(folder) or _words(name))}</h2>'
        f'<p class="sub"><a href="{here}/report.html">Read the whole notebook</a> · {escape(name)} · '
        f'{manifest["seconds"]:.0f} s · {ended} · <a href="{here}/">files</a></p>'
        f'{answer}<div class="figures">{figures}</div>{_facts(manifest, here)}</section>'
    )


def _facts(manifest: dict[str, Any], here: str) -> str:
    peak = manifest.get("peak_memory_bytes")
    rows = {
        "parameters": ", ".join(f"{key} = {value!r}" for key, value in manifest["parameters"].items()),
        "run": manifest["run_id"],
        **circumstances(manifest),
        "peak memory": f"{peak / 1e9:.2f} GB" if peak else "–",
        **{name: json.dumps(value, ensure_ascii=False) for name, value in manifest.get("facts", {}).items()},
    }
    return f'<details><summary>How it was run</summary>{facts_table(rows)}<a href="{here}/run.json">the whole manifest</a></details>'


def _failures(root: Path, failed: list[tuple[Path, dict[str, Any]]]) -> str:
    if not failed:
        return ""
    lines = []
    for folder, manifest in sorted(failed, key=lambda pair: str(pair[1]["ended"]), reverse=True):
        here, error = folder.relative_to(root).as_posix(), manifest.get("error") or {}
        what = f"{error.get('type', '')}: {error.get('message', '')}"[:300]
        report = f'<a href="{here}/report.html">report</a> · ' if (folder / "report.html").exists() else ""
        lines.append(
            f'<tr><td>{escape(manifest["notebook"])}</td><td class="failed">{escape(manifest["status"])} '
            f'({manifest["exit_code"]})</td><td>{escape(what)}</td><td>{report}<a href="{here}/stderr.log">log</a></td></tr>'
        )
    head = "<tr><th>notebook</th><th>status (exit code)</th><th>what happened</th><th></th></tr>"
    return (
        f'<section id="failed"><h2 class="failed">Runs that did not succeed ({len(failed)})</h2>'
        f'<div class="scroll"><table>{head}{"".join(lines)}</table></div></section>'
    )


def _made_good(folder: Path, failure: dict[str, Any], newest: dict[str, tuple[Path, dict[str, Any]]]) -> bool:
    """Whether the same notebook has succeeded since, whatever the clock said; the folder stays, the page leaves it out."""
    success = newest.get(failure["notebook"])
    return success is not None and folder.name in success[1].get("failed_before", [])


def _sweeps(root: Path) -> str:
    pages = [path.parent for path in sorted(root.glob("sweeps/*/index.html"))]
    lines = "".join(
        f'<li><a href="sweeps/{escape(folder.name)}/index.html">{escape(folder.name)}</a></li>'
        for folder in pages
    )
    return f'<section id="sweeps"><h2>Sweeps</h2><ul>{lines}</ul></section>' if lines else ""


def _footer(newest: dict[str, tuple[Path, dict[str, Any]]]) -> str:
    count = len(newest)
    return f"<footer>{count} notebook{'' if count == 1 else 's'}. Every figure has its table as CSV in the run's folder.</footer>"


def _title(folder: Path) -> str:
    """The notebook's first heading, as text."""
    cells = _read(folder / "notebook.ipynb")["cells"]
    lines = [
        line
        for cell in cells
        if cell["cell_type"] == "markdown"
        for line in "".join(cell["source"]).splitlines()
    ]
    return next((line.removeprefix("# ").strip() for line in lines if line.startswith("# ")), "")


def _words(name: str) -> str:
    return name.replace("_", " ")


def _markdown(text: str) -> str:
    return str(mistune.create_markdown(escape=True, plugins=["table", "strikethrough"])(text))
