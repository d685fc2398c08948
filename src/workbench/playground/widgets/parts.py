"""The six parts as widgets, each over a control bar."""

from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from workbench.playground.answers import ask_models
from workbench.playground.choices import PROTOCOLS, ranked
from workbench.playground.claims import doctor_page
from workbench.playground.examples import first_task, question, tasks_for, templates_for
from workbench.playground.history import History
from workbench.playground.languages import across_page
from workbench.playground.layers import layers_page
from workbench.playground.page import Html, Show
from workbench.playground.surprisal import fertility, surprisal
from workbench.playground.widgets.bar import Bar
from workbench.playground.widgets.jobs import Work
from workbench.playground.widgets.part import Part, field, row

_SEPARATOR = "|"


def ask_part(bar: Bar, history: History) -> Part:
    """Return the part that asks."""

    def work() -> Work:
        models, prompt, settings = bar.models.value, bar.prompt.value, bar.settings.value

        def ask(show: Show) -> Html:
            html, replies = ask_models(models, prompt, settings, show=show)
            history.add(replies, settings)
            return html

        return ask

    return Part("the models", [], work, verb="Ask")


def rank_part(bar: Bar, choices: tuple[str, ...] = (), protocol: str = PROTOCOLS[0]) -> Part:
    """Return the part that ranks choices."""
    tip = f"Two or more choices, separated by {_SEPARATOR}"
    given = field(
        widgets.Text, "Choices", tip, wide=True, placeholder=tip, value=f" {_SEPARATOR} ".join(choices)
    )
    rule = field(widgets.Dropdown, "Protocol", options=PROTOCOLS, value=protocol)

    def work() -> Work:
        models, prompt, name = bar.models.value, bar.prompt.value, rule.value
        texts = [text.strip() for text in given.value.split(_SEPARATOR) if text.strip()]
        return lambda show: ranked(models, prompt, texts, protocol=name, show=show)[0]

    part = Part("the choices", [given, row(rule)], work, verb="Rank")
    part.fields = {"choices": given, "protocol": rule}
    return part


def tokens_part(bar: Bar, text: str = "") -> Part:
    """Return the part that colours a text."""
    tip = "A text after the prompt; empty: the prompt itself, alone"
    own = field(widgets.Text, "Text", tip, wide=True, placeholder=tip, value=text)
    parallel = field(widgets.Checkbox, "tokens per language, too", value=False, indent=False)

    def work() -> Work:
        models, prompt, scored, more = bar.models.value, bar.prompt.value, own.value, parallel.value

        def colour(show: Show) -> Html:
            html = surprisal(models, scored or prompt, prompt=prompt if scored else "", show=show)
            show(html)
            return Html(html + fertility(models)) if more else html

        return colour

    part = Part("the tokens", [own, row(parallel)], work, verb="Show tokens")
    part.fields = {"text": own, "parallel": parallel}
    return part


def doctor_part(bar: Bar, language: str = "English") -> Part:
    """Return the part that tries the cards' advice."""
    named = field(widgets.Text, "Language", "The language to be named in the prompt", value=language)

    def work() -> Work:
        models, prompt, name, settings = bar.models.value, bar.prompt.value, named.value, bar.settings.value
        return lambda show: doctor_page(models, prompt, language=name, settings=settings, show=show)[0]

    part = Part("the prompt", [row(named)], work, verb="Examine")
    part.fields = {"language": named}
    return part


def across_part(bar: Bar, task: str = "", number: int = 0, languages: tuple[str, ...] = ()) -> Part:
    """Return the part that asks one question in many languages."""
    tasks = tasks_for(bar.models.names)
    chosen = field(widgets.Dropdown, "Task", options=tasks, value=task or first_task(bar.models.names))
    wording = field(widgets.Dropdown, "Wording", options=templates_for(chosen.value))
    item = field(widgets.BoundedIntText, "Item", value=number, min=0, max=999)
    tip = "Codes, separated by commas; empty: those that fit"
    codes = field(widgets.Text, "Languages", tip, wide=True, placeholder=tip, value=", ".join(languages))

    def rename(_: Any) -> None:
        wording.options = templates_for(chosen.value)
        wording.value = wording.options[0]

    chosen.observe(rename, "value")

    def work() -> Work:
        models, settings = bar.models.value, bar.settings.value
        wanted = [code.strip() for code in codes.value.split(",") if code.strip()]
        about = {"number": item.value, "template": wording.value, "languages": wanted}
        name = chosen.value
        return lambda show: across_page(models, question(name, **about), settings=settings, show=show)[0]

    part = Part("the languages", [row(chosen, wording, item), codes], work, verb="Ask in all languages")
    part.fields = {"task": chosen, "wording": wording, "item": item, "languages": codes}
    return part


def layers_part(bar: Bar, words: tuple[str, ...] = ()) -> Part:
    """Return the part that reads layers."""
    tip = "Words that may come next, separated by commas; empty: the model's own"
    given = field(widgets.Text, "Words", tip, wide=True, placeholder=tip, value=", ".join(words))

    def work() -> Work:
        models, prompt = bar.models.value, bar.prompt.value
        asked = [word.strip() for word in given.value.split(",") if word.strip()]
        return lambda show: layers_page(models, prompt, words=asked, show=show)[0]

    part = Part("the layers", [given], work, verb="Read layers")
    part.fields = {"words": given}
    return part


def page_part(label: str, make: Callable[[], Html], verb: str) -> Part:
    """Return a part that shows a page made at once."""
    return Part(label, [], lambda: lambda _: make(), verb=verb)
