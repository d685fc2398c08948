"""The browser of the tests that are marked `browser`, as far as it is there; what is missing is said by the tests that skip."""

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCREENSHOTS = ROOT / "build" / "screenshots"
CHROMIUM = os.environ.get("WORKBENCH_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
PATIENCE = 180_000  # milliseconds; a machine that does other things is waited for
NEEDED = [
    pytest.mark.browser,
    pytest.mark.skipif(
        find_spec("playwright") is None, reason="needs Playwright: the extra `browser` (make browser-tests)"
    ),
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium (.ci/browser)"),
]
_AXE = Path(os.environ.get("WORKBENCH_AXE", ROOT / "build" / "axe" / "axe.min.js"))


def launched(play):
    """A browser of Playwright's."""
    return play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=PATIENCE)


def violations(page, part="document"):
    """What axe-core finds in a page or in the elements that a selector names: (rule, element)."""
    if not _AXE.exists():
        pytest.skip("needs axe-core: npm (make browser-tests)")
    page.evaluate(_AXE.read_text(encoding="utf-8"))
    found = page.evaluate(
        "part => axe.run(part === 'document' ? document : part, {resultTypes: ['violations']})", part
    )
    return [(one["id"], node["html"][:200]) for one in found["violations"] for node in one["nodes"]]
