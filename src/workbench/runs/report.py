"""The page over all runs: the newest success of each notebook with its answer and figures, and what did not succeed."""

import json
from dataclasses import dataclass
from pathlib import Path

import mistune
from markupsafe import Markup

from workbench.atomic import make_folder, write_atomically
from workbench.errors import BadInput
from workbench.paths import expanded
from workbench.runs.manifests import Figure, Kept, Manifest, figures_of, kept_in
from workbench.runs.notebooks import read_notebook
from workbench.runs.page import circumstances, render

_BADGES = {
    "PUBLISHED": "recomputed from the authors' scores",
    "MEASURED": "measured on the checkpoint named",
    "SYNTHETIC": "from an artificial world; says nothing about checkpoints that read real text",
}


@dataclass(frozen=True)
class _Shown:
    """A successful run as the page shows it; `here` is its folder as seen from the page."""

    here: str
    manifest: Manifest
    title: str
    figures: list[Figure]

    @property
    def words(self) -> str:
        """The notebook's name."""
        return self.manifest.notebook.replace("_", " ")

    @property
    def answer(self) -> Markup:
        """What the notebook computed, as HTML; HTML in it is shown as text."""
        return Markup(
            mistune.create_markdown(escape=True, plugins=["table", "strikethrough"])(self.manifest.answer)
        )

    @property
    def facts(self) -> dict[str, str]:
        """What it was run with, in words."""
        peak = self.manifest.peak_memory_bytes
        return {
            "parameters": ", ".join(f"{key} = {value!r}" for key, value in self.manifest.parameters.items()),
            "run": self.manifest.run_id,
            **circumstances(self.manifest),
            "peak memory": f"{peak / 1e9:.2f} GB" if peak else "–",
            **{name: json.dumps(value, ensure_ascii=False) for name, value in self.manifest.facts.items()},
        }


@dataclass(frozen=True)
class _Other:
    """A run that did not succeed, goes on, or cannot be read: in words, with the files that say more."""

    notebook: str
    status: str
    what: str
    files: dict[str, str]


def write_index(root: Path | str = Path("runs")) -> Path:
    """Write `root/index.html`, one self-contained page, and return its path.

    A run that cannot be read is listed with the reason.

    Raises:
        StoreFailed: the disk did not take the page.
    """
    root = expanded(root).absolute()
    runs = kept_in(root)
    newest: dict[str, tuple[Path, Manifest]] = {}
    for run in runs:
        known = newest.get(run.manifest.notebook) if run.manifest else None
        if run.manifest and run.is_finished and (known is None or known[1].ended <= run.manifest.ended):
            newest[run.manifest.notebook] = (run.folder, run.manifest)
    shown = [
        _Shown(_seen(root, folder), manifest, _title(folder), figures_of(folder))
        for _, (folder, manifest) in sorted(newest.items())
    ]
    others = [run for run in runs if not run.is_finished and not _made_good(run.folder, newest)]
    latest_first = sorted(others, key=lambda run: run.folder.stat().st_mtime, reverse=True)
    sweeps = sorted(path.parent.name for path in root.glob("sweeps/*/index.html"))
    make_folder(root)
    page = render(
        "index",
        title="workbench: runs",
        badges=_BADGES,
        runs=shown,
        sweeps=sweeps,
        others=[_other(root, run) for run in latest_first],
    )
    write_atomically(root / "index.html", page)
    return root / "index.html"


def _seen(root: Path, folder: Path) -> str:
    return folder.relative_to(root).as_posix()


def _made_good(folder: Path, newest: dict[str, tuple[Path, Manifest]]) -> bool:
    """Whether the same notebook has succeeded since, whatever the clock said; the folder stays, the page leaves it out."""
    success = newest.get(folder.parent.name)
    return success is not None and folder.name in success[1].failed_before


def _other(root: Path, run: Kept) -> _Other:
    names = {"report": "report.html", "log": "stderr.log", "files": ""}
    files = {
        name: f"{_seen(root, run.folder)}/{file}"
        for name, file in names.items()
        if (run.folder / file).exists()
    }
    if run.manifest is None:
        status, _, what = run.problem.partition(": ")
        return _Other(run.folder.parent.name, status, what, files)
    error = run.manifest.error
    what = f"{error.type}: {error.message}"[:300] if error else ""
    return _Other(run.manifest.notebook, f"{run.manifest.status} ({run.manifest.exit_code})", what, files)


def _title(folder: Path) -> str:
    """The notebook's first heading, as text; empty where there is none, or no notebook that can be read."""
    try:
        cells = read_notebook(folder / "notebook.ipynb").cells
    except BadInput:
        return ""
    lines = (
        line for cell in cells if cell["cell_type"] == "markdown" for line in cell["source"].splitlines()
    )
    return next((line.removeprefix("# ").strip() for line in lines if line.startswith("# ")), "")
