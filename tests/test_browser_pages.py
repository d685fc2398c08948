"""The pages in a browser: no violation that axe-core knows, by day and night, and figures that can be read on a phone."""

import base64
import json
import shutil

import nbformat
import pytest

from tests.chromium import NEEDED, PATIENCE, ROOT, SCREENSHOTS, launched
from tests.chromium import violations as found_by_axe
from workbench import runs
from workbench.runs.notebook_page import write_report
from workbench.runs.results import write_table
from workbench.runs.sweep_page import write_sweep_page

pytestmark = NEEDED
# a colour over a gradient is one that axe cannot judge; shadows at the edges of what scrolls are none behind a text
PLAIN = ".scroll { background: none !important }"


def run_of(root, source, run_id, **manifest):
    """A finished run with the outputs of a committed notebook, and its report."""
    folder = root / source.stem / run_id
    (folder / "figures").mkdir(parents=True)
    shutil.copy(source, folder / "notebook.ipynb")
    outputs = [each for cell in nbformat.read(source, as_version=4).cells for each in cell.get("outputs", [])]
    for output in outputs:
        facts = output.get("metadata", {}).get("workbench")
        if facts:
            width = output["metadata"]["image/png"]["width"]
            figure = folder / "figures" / facts["name"]
            figure.with_suffix(".png").write_bytes(base64.b64decode(output["data"]["image/png"]))
            figure.with_suffix(".json").write_text(json.dumps({**facts, "width": width}))
    content = {
        "run_id": run_id, "notebook": source.stem, "status": "done", "exit_code": 0, "ended": "2026-01-01T00:00:00+00:00",
        "seconds": 1.5, "parameters": {"seed": 0}, "answer": "It *depends*.", "digests": {"mini-mt0": "0a"}, **manifest,
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(content))
    (folder / ("_SUCCESS" if content["status"] == "done" else "stderr.log")).touch()
    return folder


def report_of(folder):
    with pytest.MonkeyPatch.context() as here:
        here.chdir(folder)
        write_report(folder.parent.name, ["mini-bloomz", "mini-mt0"])
    return folder / "report.html"


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The pages by name, made of the figures and tables of real notebooks."""
    root = tmp_path_factory.mktemp("runs")
    source = ROOT / "notebooks/03_probing.ipynb"
    run_of(root, source, "default-1.failed-1", status="failed", exit_code=1)
    listed = []
    for number in range(6):
        given = {"model": ("mini-bloomz", "mini-mt0")[number // 3], "seed": number % 3}
        folder = run_of(root, source, f"seed-{number:012x}", parameters=given, digests={given["model"]: "0a"})
        numbers = {f"measure_of_the_model_{letter}": number**2 for letter in "abcdefghijk"}
        interval = {"gain": number, "gain_low": number - 1, "gain_high": number + 1}
        (folder / "metrics.json").write_text(json.dumps({**numbers, **interval, "same": 1}))
        listed.append(
            {
                "run_id": folder.name,
                "folder": f"../../{source.stem}/{folder.name}",
                "given": given,
                "state": "done",
            }
        )
    sweep = root / "sweeps/sweep"
    sweep.mkdir(parents=True)
    content = {"name": "sweep", "file": {"notebook": str(source)}, "counts": {"done": 6}, "runs": listed}
    (sweep / "sweep.json").write_text(json.dumps(content))
    write_table(sweep)
    panels = run_of(tmp_path_factory.mktemp("panels"), ROOT / "notebooks/00_playground.ipynb", "default-1")
    return {
        "index": runs.write_index(root),
        "report": report_of(folder),
        "playground": report_of(panels),
        "sweep": write_sweep_page(sweep),
    }


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        opened = launched(started)
        yield opened
        opened.close()


def opened(browser, path, scheme="light", width=1280):
    """A page as a reader has it; axe-core is let past the page's policy, which permits no script."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True
    )
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(path.as_uri())
    return page


def violations(page):
    page.add_style_tag(content=PLAIN)
    return found_by_axe(page)


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["index", "report", "playground", "sweep"])
def test_a_page_has_no_violation_and_is_no_wider_than_the_window(browser, pages, name, scheme, width):
    page = opened(browser, pages[name], scheme, width)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}-{scheme}-{width}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    shrunk = "[...document.images].map(one => one.clientWidth / parseFloat(one.style.getPropertyValue('--natural')))"
    assert min(page.evaluate(shrunk), default=1) >= 0.84, (
        "of the size at which a figure's text is as large as other text"
    )
    assert violations(page) == []
    page.context.close()


def test_the_axe_sees_what_is_wrong(browser, tmp_path):
    bad = "<html><main><table><tr><th></th></tr></table><img src=x><p style='color:#999;background:#fff'>a pale text</p></main></html>"
    (tmp_path / "bad.html").write_text(bad)
    found = {name for name, _ in violations(opened(browser, tmp_path / "bad.html"))}
    assert {"empty-table-header", "image-alt", "color-contrast", "html-has-lang"} <= found


def test_a_wide_table_scrolls_by_keyboard_and_code_is_shown_by_the_space_bar(browser, pages):
    page = opened(browser, pages["sweep"], width=390)
    region = page.get_by_role("region", name="The runs")
    region.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.activeElement.scrollLeft > 0")
    page = opened(browser, pages["report"])
    assert page.locator(".input").first.is_hidden()
    page.get_by_role("checkbox", name="Show code").press("Space")
    assert page.locator(".input").first.is_visible()
