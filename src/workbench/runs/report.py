"""The page of all runs: the latest success of each notebook with its answer and figures, and the runs that did not succeed."""

import json
from dataclasses import dataclass
from pathlib import Path

import mistune
from markupsafe import Markup

from workbench.atomic import make_folder, write_atomically
from workbench.paths import expanded
from workbench.runs.manifests import Figure, Kept, Manifest, figures_of, kept_in
from workbench.runs.notebook_page import accessible
from workbench.runs.page import circumstances, heading_of, render

_BADGES = {
    "PUBLISHED": "recomputed from the authors' scores",
    "MEASURED": "measured on the checkpoint named",
    "SYNTHETIC": "from an artificial world; says nothing about checkpoints that read real text",
}


@dataclass(frozen=True)
class _Shown:
    """A successful run as the page shows it; `here` is its folder relative to the page."""

    here: str
    manifest: Manifest
    title: str
    figures: list[Figure]

    @property
    def heading(self) -> str:
        """The notebook's first heading, or else its name with spaces."""
        return self.title or self.manifest.notebook.replace("_", " ")

    @property
    def models(self) -> str:
        """The models that the parameters name, in the parameters' order."""
        return ", ".join(self.manifest.digests)

    @property
    def answer(self) -> Markup:
        """The notebook's computed answer as HTML; HTML inside it is escaped."""
        html = mistune.create_markdown(escape=True, plugins=["table", "strikethrough"])(self.manifest.answer)
        return Markup(accessible(str(html), of=self.manifest.notebook))

    @property
    def facts(self) -> dict[str, str]:
        """The run's parameters, id and environment, as text by heading."""
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
    """A run that failed, is still running, or cannot be read, with links to its files."""

    notebook: str
    status: str
    what: str
    files: dict[str, str]


def write_index(root: Path | str = Path("runs")) -> Path:
    """Write `root/index.html`, one self-contained page, and return its path.

    A run that cannot be read is listed with the reason.

    Raises:
        StoreFailed: the page could not be written.
    """
    root = expanded(root).absolute()
    runs = kept_in(root)
    newest: dict[str, tuple[Path, Manifest]] = {}
    for run in runs:
        known = newest.get(run.manifest.notebook) if run.manifest else None
        if run.manifest and run.is_finished and (known is None or known[1].ended <= run.manifest.ended):
            newest[run.manifest.notebook] = (run.folder, run.manifest)
    shown = [
        _Shown(_seen(root, folder), manifest, heading_of(folder), figures_of(folder))
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
    """Return whether the notebook's latest success lists this failed run as earlier, whatever the clock said."""
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
