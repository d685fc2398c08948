"""Ask: one prompt, answered by models side by side, with what else could have come at each step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import exp
from time import perf_counter

from workbench.inference.alternatives import Alternatives, alternatives
from workbench.inference.generation import generate
from workbench.models import Model
from workbench.models.arguments import text as expect_text
from workbench.playground.opening import opened, warning_about
from workbench.playground.page import (
    Html,
    Show,
    card,
    cards,
    meter,
    nats,
    note,
    page,
    percent,
    tag,
    text_of,
)
from workbench.playground.settings import Settings
from workbench.playground.static import is_live
from workbench.playground.surprisal import coloured

_SECONDS = 0.1  # between two pictures of a growing answer


@dataclass(frozen=True)
class Reply:
    """A model's answer to a prompt; while it is being written, `text` is what there is so far and `steps` is None."""

    model: Model
    prompt: str
    text: str = ""
    is_done: bool = False
    finished: bool = False
    from_store: bool = False
    steps: Alternatives | None = None


def ask_models(
    models: Sequence[str | Model], prompt: str, settings: Settings, *, k: int = 5, show: Show | None = None
) -> tuple[Html, list[Reply]]:
    """Return the answers as HTML and as records; `show` gets the page after each token.

    Raises:
        WorkbenchError: as `generate`, `alternatives` and `opened`.
    """
    expect_text("the prompt", prompt)
    found = [Reply(model, prompt) for model in opened(models)]
    for place, reply in enumerate(found):
        found[place] = _answered(reply, settings, k, _watching(found, place, show))
        if show:
            show(answers_page(found))
    return answers_page(found), found


def _watching(found: list[Reply], place: int, show: Show | None) -> Callable[[str, str], None] | None:
    if show is None:
        return None
    last = 0.0

    def watch(_: str, text: str) -> None:
        nonlocal last
        if perf_counter() - last >= _SECONDS:
            last = perf_counter()
            now = [replace(found[place], text=text) if at == place else each for at, each in enumerate(found)]
            show(answers_page(now))

    return watch


def _answered(reply: Reply, settings: Settings, k: int, watch: Callable[[str, str], None] | None) -> Reply:
    (one,) = generate(reply.model, [reply.prompt], progress=False, watch=watch, **settings.options)
    steps = (
        alternatives(reply.model, reply.prompt, one.text, k)
        if "alternatives" in reply.model.spec.algorithms
        else None
    )
    return replace(
        reply, text=one.text, is_done=True, finished=one.finished, from_store=one.from_store, steps=steps
    )


def answers_page(found: Sequence[Reply]) -> Html:
    """Return the answers as cards side by side."""
    return page(cards([_card(reply) for reply in found]), label="Answers")


def _card(reply: Reply) -> Html:
    warning = warning_about(reply.model, reply.prompt)
    if not reply.is_done:
        text = tag("div", text_of(reply.text, "…"), class_="wb-answer")
        return card(reply.model, text, warning=warning)
    body = coloured(reply.steps) if reply.steps else tag("div", text_of(reply.text), class_="wb-answer")
    first = [] if reply.steps is None else [_first(reply.steps)]
    return card(reply.model, body, *first, note(_about(reply)), warning=warning)


def _first(steps: Alternatives) -> Html:
    """Return the likeliest first tokens as bars."""
    rows = [
        tag("div", meter(exp(value), percent(exp(value)), repr(text)), " ", text_of(text))
        for text, value in steps.steps[0].top[:3]
    ]
    return tag("div", tag("span", "Likeliest beginnings", class_="wb-faint"), *rows)


def _about(reply: Reply) -> str:
    end = "ended by itself" if reply.finished else "cut at the length that was set"
    where = "; from the store" if reply.from_store else f"; computed in {reply.model.where}"
    score = "" if reply.steps is None else f"; log P {nats(reply.steps.logprob)} nats"
    return f"{end}{score}{where if is_live() else ''}"  # a saved page is the same, whatever the store holds
