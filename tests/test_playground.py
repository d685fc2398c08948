"""The playground: pages tell what the package computes, widgets and static pages are the same, work stops, errors are sentences."""

import csv
import io
import re
from html import unescape
from math import exp
from pathlib import Path

import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from workbench import Item, alternatives, generate, load, rank
from workbench.errors import BadInput, UnknownName
from workbench.inference.lens import lens
from workbench.playground import (
    Settings,
    across_languages,
    ask,
    doctor,
    layers,
    playground,
    show_static,
    tokens,
)
from workbench.playground import rank as rank_page
from workbench.playground.answers import ask_models
from workbench.playground.as_code import as_code
from workbench.playground.claims import changes, doctor_page
from workbench.playground.examples import CARD_PROMPTS, question, templates_for
from workbench.playground.history import History
from workbench.playground.languages import across_page
from workbench.playground.layers import readable
from workbench.playground.opening import default_models
from workbench.playground.page import Html, percent, table, tag
from workbench.playground.static import plain
from workbench.playground.widgets.jobs import Job
from workbench.store import Store

PROMPT = "Translate to English: Je t'aime."
SHORT = Settings(max_new_tokens=4)


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_STORE", str(tmp_path / "default.sqlite"))


def done(widget):
    """The page of a widget when its work has ended."""
    widget.part.job.wait(60)
    return widget.html


def words(html):
    return plain(html).split()


def test_html_is_escaped_and_a_page_has_no_scripts_and_asks_nobody(model):
    assert tag("p", "<b>", Html("<i></i>"), title='"<') == '<p title="&quot;&lt;">&lt;b&gt;<i></i></p>'
    page = ask([model], "<script>alert(1)</script>", settings=SHORT, live=False).html
    page += tokens([model], "<script>alert(1)</script>", live=False).html
    assert not re.search(r"<script|https?://|@import|url\(|\son\w+=", page)
    assert "&lt;" in page


def test_the_page_of_answers_says_what_generate_gives_and_how_likely_each_token_is(model):
    page = ask([model], PROMPT, settings=SHORT, live=False).html
    (answer,) = generate(model, [PROMPT], max_new_tokens=4)
    steps = alternatives(model, PROMPT, answer.text)
    assert f"log P {steps.logprob:.2f} nats" in page
    assert page.count('<span class="wb-token') == len(steps.characters)
    shown = "".join(unescape(text).replace("↵\n", "\n") for text in re.findall(r'<span class="wb-token[^>]*>([^<]*)</span>', page))  # fmt: skip
    assert shown == f"{answer.text}</s>".replace(
        "\ufffd", ""
    )  # bytes of random weights that are no characters
    best = steps.steps[0].top[0]
    assert f"{percent(exp(best[1]))}" in page
    assert page.count('tabindex="0"') >= len(steps.characters)


@pytest.mark.parametrize(
    "part",
    [
        lambda models, live: ask(models, PROMPT, settings=SHORT, live=live),
        lambda models, live: rank_page(models, PROMPT, ["yes", "no, never"], live=live),
        lambda models, live: tokens(models, PROMPT, prompt="Paka", live=live),
        lambda models, live: doctor(models, PROMPT, settings=SHORT, live=live),
        lambda models, live: across_languages(models, "parallel/topic", languages=["en", "sw"], live=live),
        lambda models, live: layers(models, PROMPT, words=["cat", "mat"], live=live),
    ],
    ids=["ask", "rank", "tokens", "doctor", "languages", "layers"],
)
def test_a_widget_shows_what_the_static_page_shows(model, part):
    part([model], False)  # now all answers are stored
    static = part([model], False)
    assert done(part([model], True)) == static.html
    assert static._repr_mimebundle_()["text/html"] == static.html.replace(" data-tip=", " title=")
    assert Path(model.name).name in plain(static.html)
    assert "MEASURED" in static.html


def test_ranking_shows_scores_shares_margin_and_tie(model):
    table = rank(model, [Item("1", PROMPT, ("yes", "no, never"))])
    said = plain(rank_page([model], PROMPT, ["yes", "no, never"], live=False).html)
    assert all(f"{score:.2f}" in said for score in table["scores"][0])
    assert f"margin {table['margin'][0]:.2f} nats" in said
    assert "a tie" not in said
    assert "a tie" in plain(rank_page([model], PROMPT, ["yes", "yes"], live=False).html)  # the twin
    with pytest.raises(BadInput, match="at least two"):
        rank_page([model], PROMPT, ["yes"], live=False)


def test_the_doctor_tries_four_claims_each_beside_a_placebo_of_the_same_words(model):
    tried = changes(PROMPT, "French")
    assert [one.claim for one in tried[1::2]] == ["a closing mark", "a cue", "quotes", "the language"]
    assert all(one.is_placebo for one in tried[2::2])
    assert not any(one.is_placebo for one in tried[1::2])
    assert [one.prompt for one in tried[1::2]] == [
        PROMPT[:-1], f"{PROMPT} Translation:", 'Translate to English: "Je t\'aime."', f"{PROMPT} Answer in French.",
    ]  # fmt: skip
    assert changes(PROMPT[:-1])[1].prompt == PROMPT
    _, found = doctor_page([model], PROMPT, settings=SHORT)
    first, second = found[model.label][:2]
    assert second.nats == pytest.approx(alternatives(model, PROMPT[:-1], first.answer).logprob)
    end = alternatives(model, PROMPT[:-1], "").steps[0].logprob
    assert second.ends_at_once == pytest.approx(exp(end))


def test_across_languages_tells_the_language_of_an_answer_and_whether_it_is_right(checkpoints):
    mini = default_models()
    asked = question("what", languages=["x-en", "x-fr", "x-zh"])
    page, found = across_page(mini, asked)
    for name in mini:
        answers = generate(load(name), [item.prompt for item in asked.items], max_new_tokens=12)
        for one, answer, item in zip(found[name], answers, asked.items, strict=True):
            assert (one.answer, one.is_right) == (answer.text, answer.text.strip() == item.target)
            assert not one.is_right or one.produced == item.language
    assert sum(one.is_right for each in found.values() for one in each) >= 4  # they can do this
    assert page.count('class="wb-badge wb-synthetic"') == len(mini)
    with pytest.raises(BadInput, match="at least two"):
        across_page(mini, question("what", languages=["x-en"]))


def test_the_table_of_layers_has_the_lens(model):
    page = layers([model], PROMPT, words=["cat"], live=False).html
    (reading,) = lens(model, [PROMPT], [["cat"]], top=3, progress=False)
    rows = plain(page).splitlines()
    for layer, entropy in enumerate(reading.entropies):
        assert any(line.startswith(f"{layer}") and f"{entropy:.2f}" in line for line in rows)
    vocabulary = model.hf.tokenizer.get_vocab()
    for name in list(vocabulary)[4:]:  # after the special ones
        text = model.hf.tokenizer.decode([vocabulary[name]])
        assert readable(name) == text or "\ufffd" in text


def test_models_of_two_worlds_keep_their_badges_apart(model):
    mini = default_models()[0]
    cards = ask([mini, model], PROMPT, settings=SHORT, live=False).html.split('class="wb-card"')[1:]
    assert ["SYNTHETIC" in card for card in cards] == [True, False]
    assert ["MEASURED" in card for card in cards] == [False, True]
    assert "unknown: " in cards[0]  # the miniature's warning about words that it never saw


def test_work_stops_in_the_middle_of_an_answer_and_nothing_of_it_is_stored(model):
    pages, states = [], []

    def show(html):
        pages.append(html)
        job.stop()

    job = Job(show, states.append)
    long = Settings(max_new_tokens=100, strategy="sampling")
    job.start(lambda progress: ask_models([model], PROMPT, long, show=progress)[0])
    job.wait(60)
    assert "Stopped." in pages[-1]
    assert not job.is_running
    assert states == [True, False]
    assert model.store.info()["answers"] == 0
    job.start(lambda progress: ask_models([model], PROMPT, SHORT)[0])  # and the next goes through
    job.wait(60)
    assert "log P" in pages[-1]


def test_what_goes_wrong_is_one_sentence_in_the_panel(model):
    panel = playground([model], PROMPT, choices=["yes", "no"], settings=SHORT, live=True)
    panel.current.job.wait(60)
    for name, said in (("bloomz-560", "nearest: bloomz-560m"), ("a,b,c,d,e", "one to 4"), ("", "0 models")):
        panel.bar.models.widget.value = name
        panel.current.run_button.click()
        panel.current.job.wait(60)
        assert 'role="alert"' in panel.html
        assert said in plain(panel.html).replace("mes", "mes")
        assert "Traceback" not in panel.html
        assert (panel.current.run_button.disabled, panel.current.stop_button.disabled) == (False, True)
    with pytest.raises(UnknownName):
        ask(["bloomz-560"], PROMPT, live=False)  # without a widget it is raised


def test_a_panel_is_filled_by_examples_and_runs_at_enter():
    panel = playground(settings=SHORT, live=True)
    panel.current.job.wait(120)
    assert all(name in plain(panel.html) for name in default_models())
    examples = panel.bar.examples
    for name, prompt in CARD_PROMPTS.items():
        examples.example.value = name
        assert panel.bar.prompt.value == prompt
    assert len(CARD_PROMPTS) == 8
    examples.example.value = "who"
    examples.language.value = "x-fr"
    examples.wording.value = templates_for("who")[1]
    item = question("who", template=templates_for("who")[1], languages=["x-fr"]).items[0]
    assert panel.bar.prompt.value == item.prompt
    assert panel.parts["Rank"].fields["choices"].value == " | ".join(item.choices)
    panel.bar.prompt.widget.value = "Who has apples?\nAnna has 3 apples."  # a line break inside stays
    before = panel.html
    panel.bar.prompt.widget.value += "\n"
    panel.current.job.wait(60)
    assert panel.bar.prompt.value == "Who has apples?\nAnna has 3 apples."
    assert panel.html != before


def test_every_tab_of_a_panel_works_and_two_panels_at_once(checkpoints, tmp_path):
    handles = [
        load(str(path), device="cpu", store=Store(tmp_path / "s.sqlite")) for path in checkpoints.values()
    ]
    panels = [
        playground([each], PROMPT, choices=["yes", "no"], settings=SHORT, live=True) for each in handles
    ]
    for number, title in enumerate(panels[0].parts):
        for panel in panels:
            panel.tabs.selected_index = number
            panel.current.run_button.click()
        for panel in panels:
            panel.current.job.wait(60)
            assert 'role="alert"' not in panel.html, title
            assert len(words(panel.html)) > 5, title


def test_history_survives_and_is_exported_whole(model, tmp_path):
    history = History.beside_the_store()
    _, replies = ask_models([model], 'Say "a, b".', SHORT)
    history.add(replies, SHORT)
    history.add(replies, Settings(strategy="beams"))
    with history.path.open("a") as file:
        file.write('{"asked": "2026')  # a process was killed here
    again = History(history.path)
    rows = list(csv.DictReader(io.StringIO(again.csv())))
    assert [row["prompt"] for row in rows] == ['Say "a, b".'] * 2
    assert rows[0]["answer"] == replies[0].text
    assert "Save all 2 as CSV" in again.page()


def test_the_code_gives_the_same_answer(capsys):
    (name, *_), prompt = default_models(), "Anna smiles. Is Anna happy?"
    _, (reply,) = ask_models([name], prompt, Settings(strategy="beams", beams=2, max_new_tokens=5))
    exec(as_code([name], prompt, Settings(strategy="beams", beams=2, max_new_tokens=5)), {})
    assert capsys.readouterr().out.strip() == f"{name} {reply.text!r}"


def test_a_static_page_is_displayed_from_a_widget(model):
    widget = ask([model], PROMPT, settings=SHORT, live=True)
    html = done(widget)
    InteractiveShell.instance()
    try:
        with capture_output() as shown:
            show_static(widget)
    finally:
        InteractiveShell.clear_instance()
    (output,) = shown.outputs
    bundle = widget._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert "show_static" in bundle["text/html"]  # what a notebook shows that was saved without its widgets
    assert output.data["text/html"] == html.replace(" data-tip=", " title=")
    assert "widget" not in "".join(output.data)


def test_settings_reach_the_answer_and_unknown_ones_are_refused(model):
    sampled = Settings(strategy="sampling", seed=3, max_new_tokens=6)
    _, (reply,) = ask_models([model], PROMPT, sampled)
    (own,) = generate(model, [PROMPT], max_new_tokens=6, do_sample=True, seed=3)
    assert reply.text == own.text
    with pytest.raises(BadInput, match="choose one of: greedy"):
        Settings(strategy="best")


def test_a_table_can_be_scrolled_by_keyboard_and_has_a_caption():
    html = table(("a",), [("1",), (tag("td", "2", class_="x"),)], caption="Numbers")
    assert 'tabindex="0" role="group" aria-label="Numbers"' in html
    assert pd.read_html(io.StringIO(html))[0]["a"].tolist() == [1, 2]
