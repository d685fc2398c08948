"""The playground in a real JupyterLab and a real browser: `make browser-tests`. Screenshots are kept in build/screenshots."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from tests.chromium import NEEDED, PATIENCE, launched, violations
from tests.chromium import SCREENSHOTS as SHOTS
from workbench.paths import notebook_path

pytestmark = NEEDED
READY = """async path => {
  const app = window.jupyterapp; await app.restored;
  const widget = await app.commands.execute('docmanager:open', {path, factory: 'Notebook'});
  await widget.context.ready; await widget.sessionContext.ready; window.book = widget;
}"""
RUN_NEXT = "() => window.jupyterapp.commands.execute('notebook:run-cell-and-select-next')"
ADD = """async source => {
  const app = window.jupyterapp;
  await app.commands.execute('notebook:insert-cell-below');
  window.book.content.activeCell.model.sharedModel.setSource(source);
  await app.commands.execute('notebook:run-cell');
}"""
THEME = "name => window.jupyterapp.commands.execute('apputils:change-theme', {theme: name})"
RESTART = "() => window.book.sessionContext.session.kernel.restart()"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The address of a JupyterLab with settings, workspaces and store of its own; the notebook lies alone in its folder."""
    place = tmp_path_factory.mktemp("lab")
    shutil.copy(notebook_path("00_playground.ipynb"), place / "00_playground.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = place / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text(json.dumps({"fetchNews": "false"}))
    own = {f"JUPYTER_{name}_DIR": str(place / name.lower()) for name in ("CONFIG", "RUNTIME", "DATA")}
    environment = {
        **os.environ,
        **own,
        "JUPYTERLAB_SETTINGS_DIR": str(place / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(place / "workspaces"),
        "WORKBENCH_STORE": str(place / "store.sqlite"),
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}", f"--notebook-dir={place}"]  # fmt: skip
    options = ["--IdentityProvider.token=", "--ServerApp.disable_check_xsrf=True", "--LabApp.expose_app_in_browser=True"]  # fmt: skip
    with (place / "log").open("w") as log:
        process = subprocess.Popen([*command, *options], env=environment, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}/lab"
    try:
        _wait_for(address, process, place / "log")
        yield address
    finally:
        process.terminate()
        process.wait(60)


def _wait_for(address, process, log):
    end = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=2).close()
        except OSError:
            time.sleep(0.3)
        else:
            return
    pytest.fail(log.read_text())


@pytest.fixture(scope="module")
def page(lab):
    """A page with the notebook open, and the panel shown; `page.took` is the time from opening it to both answers, in seconds."""
    from playwright.sync_api import sync_playwright

    SHOTS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as play:
        browser = launched(play)
        found = browser.new_page(viewport={"width": 1280, "height": 900})
        found.errors = []
        found.on("pageerror", lambda error: found.errors.append(str(error)))
        found.set_default_timeout(PATIENCE)
        begun = time.monotonic()
        found.goto(f"{lab}/tree/00_playground.ipynb")
        found.wait_for_function("() => window.jupyterapp")
        found.evaluate(READY, "00_playground.ipynb")
        for _ in range(3):
            found.evaluate(RUN_NEXT)
        answers(found).nth(1).get_by_text("log P").wait_for()
        found.took = time.monotonic() - begun
        yield found
        browser.close()


def panel(page, number=0):
    return page.locator(".jupyter-widgets.widget-vbox:has(.widget-tab)").nth(number)


def answers(page, number=0):
    """The cards in the open tab of a panel."""
    return panel(page, number).locator(".wb-card:visible")


def ready(page, number=0):
    panel(page, number).locator("[role=status]:visible", has_text="done").wait_for()


def shoot(page, name):
    page.screenshot(path=SHOTS / f"{name}.png")


def test_opening_the_notebook_gives_the_answers_of_two_models_side_by_side(page):
    assert answers(page).count() == 2
    shoot(page, "light")
    (SHOTS / "seconds.txt").write_text(f"{page.took:.1f}\n")
    assert answers(page).nth(0).get_by_text("SYNTHETIC").is_visible()


def test_a_prompt_is_typed_and_asked_with_enter(page):
    field = panel(page).get_by_label("Prompt", exact=True)
    field.fill("Translate to French: Anna has 4 apples.")
    field.press("End")
    field.press("Enter")
    answers(page).nth(0).get_by_text("pommes").first.wait_for()
    ready(page)
    assert field.input_value() == "Translate to French: Anna has 4 apples."


def test_ctrl_enter_asks_from_anywhere_in_the_form_and_does_not_run_the_cell(page):
    field = panel(page).get_by_label("Prompt", exact=True)
    count = page.locator(".jp-Notebook .jp-InputPrompt").all_inner_texts()
    for word, wanted in (("boxes", "boîtes"), ("masks", "masques")):  # fmt: skip
        text = f"Translate to French: Anna has 3 {word}."
        field.fill(text)
        field.press("Home")
        field.press("Control+Enter")
        answers(page).nth(0).get_by_text(wanted).first.wait_for()
        ready(page)
        assert field.input_value() == text
    assert page.locator(".jp-Notebook .jp-InputPrompt").all_inner_texts() == count


def test_alternatives_show_on_hover_and_by_keyboard(page):
    token = answers(page).nth(0).locator(".wb-token").first
    content = "one => getComputedStyle(one, '::after').content"
    assert token.evaluate(content) == "none"
    token.hover()
    assert "%" in token.evaluate(content)
    shoot(page, "hover")
    page.mouse.move(0, 0)
    token.focus()
    assert "%" in token.evaluate(content)
    assert "nats" in token.get_attribute("aria-label")


def test_models_are_switched_and_a_wrong_name_is_a_sentence(page):
    field = panel(page).get_by_label("Models")
    field.fill("mini-bloomz, mini-blomz")
    field.press("Tab")
    panel(page).get_by_role("button", name="Ask", exact=True).click()
    panel(page).get_by_role("alert").get_by_text("nearest: mini-bloomz").wait_for()
    field.fill("mini-bloom, mini-bloomz, mini-mt0")
    field.press("Tab")
    panel(page).get_by_role("button", name="Ask", exact=True).click()
    answers(page).nth(2).get_by_text("log P").wait_for()
    field.fill("mini-bloomz, mini-mt0")
    field.press("Tab")


@pytest.mark.parametrize(
    ("tab", "button", "said"),
    [
        ("Rank", "Rank", "margin"),
        ("Tokens", "Show tokens", "surprisal"),
        ("Doctor", "Examine", "placebo"),
        ("Languages", "Ask in all languages", "answers are right as text"),
        ("Layers", "Read layers", "entropy"),
    ],
)
def test_every_tab_answers(page, tab, button, said):
    panel(page).get_by_role("tab", name=tab).click()
    if tab == "Rank":
        panel(page).get_by_label("Choices").fill("yes | no")
        panel(page).get_by_label("Choices").press("Tab")
    panel(page).get_by_role("button", name=button, exact=True).click()
    answers(page).nth(1).get_by_text(re.compile(said)).first.wait_for()
    ready(page)
    shoot(page, tab.lower().replace(" ", "-"))


def test_the_stop_button_stops(page):
    panel(page).get_by_role("tab", name="Languages").click()
    panel(page).locator("input[type=number]:visible").last.fill("7")
    panel(page).locator("input[type=number]:visible").last.press("Tab")
    panel(page).get_by_role("button", name="Ask in all languages").click()
    panel(page).locator("button:visible", has_text="Stop").click()
    panel(page).get_by_text("Stopped.").wait_for()
    ready(page)


def test_two_panels_answer_at_once(page):
    page.evaluate(
        ADD, "from workbench.playground import playground; playground(prompt='Anna smiles. Is Anna happy?')"
    )
    answers(page, 1).nth(1).get_by_text("log P").wait_for()
    panel(page, 0).get_by_role("tab", name="Ask").click()
    panel(page, 0).get_by_role("button", name="Ask", exact=True).click()
    panel(page, 1).get_by_role("button", name="Ask", exact=True).click()
    ready(page, 0)
    ready(page, 1)
    assert answers(page, 0).count() == answers(page, 1).count() == 2
    shoot(page, "two-panels")
    page.mouse.move(0, 0)
    panel(page, 1).screenshot(path=SHOTS / "panel.png")


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_it_is_readable_in_both_themes_by_keyboard_and_at_700_pixels(page, theme):
    page.evaluate(THEME, theme)
    page.wait_for_timeout(1500)
    page.set_viewport_size({"width": 700, "height": 900})
    page.evaluate("() => window.jupyterapp.commands.execute('application:toggle-left-area')")
    shoot(page, f"700-{theme.split()[1].lower()}")
    width = page.evaluate("() => document.querySelector('.wb').scrollWidth <= document.querySelector('.wb').clientWidth + 1")  # fmt: skip
    page.set_viewport_size({"width": 1280, "height": 900})
    shoot(page, theme.split()[1].lower())
    assert width
    assert violations(page, ".jp-OutputArea-output .widget-vbox") == []


def test_after_a_restart_of_the_kernel_the_cell_answers_again(page):
    page.evaluate(RESTART)
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-cell')")
    page.wait_for_timeout(500)
    answers(page, 1).nth(1).get_by_text("from the store").wait_for()
    assert page.errors == []
