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
from workbench.playground.page import Html, card, cards, meter, note, page, percent, tag, text_of
from workbench.playground.settings import Settings
from workbench.playground.surprisal import coloured

Show = Callable[[Html], None]  # gets what is known so far; an exception that it raises ends the work
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
    done = {"text": one.text, "finished": one.finished, "from_store": one.from_store}
    return replace(reply, steps=steps, is_done=True, **done)


def answers_page(found: Sequence[Reply]) -> Html:
    """Return the answers as cards side by side."""
    return page(cards([_card(reply) for reply in found]), label="Answers")


def _card(reply: Reply) -> Html:
    warning = warning_about(reply.model, reply.prompt)
    told = [note(warning, "warning")] if warning else []
    if not reply.is_done:
        return card(
            reply.model.label,
            reply.model.badge,
            tag("div", text_of(reply.text, "…"), class_="wb-answer"),
            *told,
        )
    body = coloured(reply.steps) if reply.steps else tag("div", text_of(reply.text), class_="wb-answer")
    first = [] if reply.steps is None else [_first(reply.steps)]
    return card(reply.model.label, reply.model.badge, body, *first, note(_about(reply)), *told)


def _first(steps: Alternatives) -> Html:
    """Return the likeliest first tokens as bars."""
    rows = [
        tag("li", meter(exp(value), percent(exp(value)), repr(text)), " ", text_of(text))
        for text, value in steps.steps[0].top[:3]
    ]
    return tag(
        "div", tag("span", "Likeliest beginnings", class_="wb-faint"), tag("ul", *rows, class_="wb-first")
    )


def _about(reply: Reply) -> str:
    end = "ended by itself" if reply.finished else "cut at the length that was set"
    where = "from the store" if reply.from_store else f"computed in {reply.model.where}"
    score = "" if reply.steps is None else f"; log P {reply.steps.logprob:.2f} nats"
    return f"{end}{score}; {where}"
