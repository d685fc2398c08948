"""HTML pages about runs, rendered from the templates in `pages/`; every value is escaped and every link quoted."""

import os
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from workbench.errors import BadInput
from workbench.runs.manifests import Manifest
from workbench.runs.notebooks import read_notebook


def render(template: str, **values: Any) -> str:
    """Render a template from `pages/` as a whole page; only `markupsafe.Markup` is inserted as HTML."""
    return _templates().get_template(f"{template}.html.j2").render(values)


@cache
def _templates() -> Environment:
    found = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("pages")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["link"] = _link
    found.filters["first_line"] = lambda text: next(iter(text.splitlines()), "")[:300]
    return found


def _link(path: str) -> str:
    return quote(os.fsencode(path))


def circumstances(manifest: Manifest) -> dict[str, str]:
    """Return the code, versions, inputs and machine of a run as text, by heading."""
    git, hardware = manifest.git, manifest.hardware
    commit = f"{((git and git.commit) or '–')[:12]}{' with uncommitted changes' if git and git.dirty else ''}"
    versions = {"Python": manifest.python, **manifest.packages}
    read = {"reads": shortened(manifest.reads)} if manifest.reads else {}
    return {
        "code": f"commit {commit}, sources {manifest.code_sha256[:12]}, data {manifest.data_sha256[:12]}",
        **read,
        "with": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "on": ", ".join([f"{hardware.cores} × {hardware.processor}", *hardware.gpus]),
    }


def shortened(digests: dict[str, str]) -> str:
    """Return names with the first 12 digits of their digests."""
    return ", ".join(f"{name} {digest[:12]}" for name, digest in digests.items())


def heading_of(folder: Path) -> str:
    """Return the notebook's first heading as text; empty if it has none or cannot be read."""
    try:
        cells = read_notebook(folder / "notebook.ipynb").cells
    except BadInput:
        return ""
    lines = (
        line for cell in cells if cell["cell_type"] == "markdown" for line in cell["source"].splitlines()
    )
    return next((line.removeprefix("# ").strip() for line in lines if line.startswith("# ")), "")
