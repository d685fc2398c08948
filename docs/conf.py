"""The documentation site (`make docs`): the guides, the executed notebooks, and the public names from their docstrings."""

import re
from pathlib import Path
from typing import Any

import workbench

project = "workbench"
author = "The workbench authors"
version = release = workbench.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = [
    "coverage-map.md",
    "notebooks/figures",
    "notebooks/README.md",
    "notebooks/.ipynb_checkpoints",
]
html_theme = "furo"
html_title = "workbench"
nb_execution_mode = (
    "off"  # the committed notebooks are executed, and verified, by `make notebooks` and `make verify`
)
myst_heading_anchors = 3
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
python_use_unqualified_type_names = True

_FETCHED = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed|object)\b[^>]*\b(?:src|data)=["']((?:https?:)?//[^"']+)
    |<link\b(?=[^>]*\brel=["'](?:stylesheet|icon|preload|preconnect|dns-prefetch|manifest|shortcut))[^>]*\bhref=["']((?:https?:)?//[^"']+)
    |url\(["']?((?:https?:)?//[^"')]+)|@import\s+["']((?:https?:)?//[^"']+)""",
    re.VERBOSE | re.IGNORECASE,
)


def outside_requests(folder: Path) -> list[str]:
    """Return what a browser would fetch from elsewhere when it opens the site's pages; links that a reader follows are none."""
    found = set()
    for path in sorted(path for kind in ("*.html", "*.css") for path in folder.rglob(kind)):
        for groups in _FETCHED.findall(path.read_text(encoding="utf-8")):
            found.add(f"{path.relative_to(folder)}: {''.join(groups)}")
    return sorted(found)


def setup(app: Any) -> None:
    """Fail if a page needs the network."""

    def check(app: Any, problem: Exception | None) -> None:
        if problem is None and (found := outside_requests(Path(app.outdir))):
            raise RuntimeError(f"pages fetch from elsewhere: {'; '.join(found[:5])}")

    app.connect("build-finished", check)
