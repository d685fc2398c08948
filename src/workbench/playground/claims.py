"""The prompt doctor: what the model cards recommend, tried on your prompt, each beside a placebo.

The cards say: end the prompt with a mark, or with a cue such as "Translation:", put the text in quotes, and name the language of the
answer. A placebo changes as much without following the advice: the same words where they end nothing.

Source: cards of bigscience/bloomz and bigscience/mt0-xxl, "Prompt Engineering".
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp

from workbench.inference.alternatives import alternatives
from workbench.inference.generation import generate
from workbench.models import Model
from workbench.models.arguments import text as expect_text
from workbench.playground.opening import opened, warning_about
from workbench.playground.page import Html, Show, card, nats, page, percent, table, tag, text_of
from workbench.playground.settings import Settings
from workbench.studies.closing_mark import strip_mark

_CUES = {"translat": "Translation:"}
_QUOTES = '"«»“”「」'


@dataclass(frozen=True)
class Change:
    """A changed prompt: the claim that it tests, what was done, and whether it is the placebo."""

    claim: str
    done: str
    prompt: str
    is_placebo: bool = False


@dataclass(frozen=True)
class Finding:
    """What a model makes of a prompt: its greedy answer, the probability that it ends at once, and by how many nats the answer to the
    prompt as written is likelier or less likely than there."""

    change: Change
    answer: str
    ends_at_once: float
    nats: float


def changes(prompt: str, language: str = "English") -> list[Change]:
    """Return the prompt as written, then for each claim the change and its placebo.

    Raises:
        BadInput: a prompt that is not a text, or blank.
    """
    written = expect_text("the prompt", prompt).rstrip()
    bare, cue = (
        strip_mark(written),
        next((one for word, one in _CUES.items() if word in written.lower()), "Answer:"),
    )
    closed = bare if bare != written else f"{written}."
    what = "its closing mark left out" if bare != written else "closed with a full stop"
    named = f"Answer in {language}."
    ended = written if bare != written else closed
    return [
        Change("as written", "", written),
        Change("a closing mark", what, closed),
        Change("a closing mark", "a full stop at the beginning", f". {written}", is_placebo=True),
        Change("a cue", f"“{cue}” at the end", f"{ended} {cue}"),
        Change("a cue", f"“{cue}” at the beginning", f"{cue} {written}", is_placebo=True),
        Change("quotes", "quotes around the text", _quoted(written)),
        Change(
            "quotes", "quotes around the first word", re.sub(r"^(\S+)", r'"\1"', written), is_placebo=True
        ),
        Change("the language", f"“{named}” at the end", f"{ended} {named}"),
        Change("the language", "“Answer in words.” at the end", f"{ended} Answer in words.", is_placebo=True),
    ]


def _quoted(prompt: str) -> str:
    """Put quotes around what follows the first colon, or else around the first sentence; a prompt that has some is returned without them."""
    if any(mark in prompt for mark in _QUOTES):
        return "".join(sign for sign in prompt if sign not in _QUOTES)
    before, colon, after = prompt.partition(": ")
    if colon and after:
        return f'{before}: "{after}"'
    first = re.match(r".+?[.?!。？！](?=\s|$|[^\s\d])", prompt)
    return f'"{first.group()}"{prompt[first.end() :]}' if first else f'"{prompt}"'


def doctor_page(
    models: Sequence[str | Model],
    prompt: str,
    *,
    language: str = "English",
    settings: Settings | None = None,
    show: Show | None = None,
) -> tuple[Html, dict[str, list[Finding]]]:
    """Return what each change does to each model's answer; `show` gets the page after each prompt.

    Raises:
        WorkbenchError: as `generate`, `alternatives` and `opened`.
    """
    tried, how = changes(prompt, language), settings or Settings()
    handles = opened(models)
    found: dict[str, list[Finding]] = {model.label: [] for model in handles}
    for model in handles:
        for change in tried:
            first = found[model.label][0].answer if found[model.label] else None
            found[model.label].append(_finding(model, change, first, how))
            if show:
                show(_page(handles, found))
    return _page(handles, found), found


def _finding(model: Model, change: Change, first: str | None, settings: Settings) -> Finding:
    (one,) = generate(model, [change.prompt], progress=False, **settings.options)
    start = alternatives(model, change.prompt, "", 1).steps[0]
    reference = alternatives(model, change.prompt, one.text if first is None else first, 1).logprob
    return Finding(change, one.text, exp(start.logprob or 0.0), reference)


def _page(models: Sequence[Model], found: dict[str, list[Finding]]) -> Html:
    told = tag(
        "p",
        "“Change” is by how many nats the answer to the prompt as written became likelier (+) or less likely (−). "
        "Advice works on this prompt if its row moves more than the placebo below it.",
        class_="wb-note",
    )
    return page(*(_card(model, found[model.label]) for model in models), told, label="Prompt doctor")


def _card(model: Model, findings: Sequence[Finding]) -> Html:
    head = ("claim", "prompt", "answer", "change, nats", "ends at once")
    rows = [_row(finding, findings[0]) for finding in findings]
    warning = warning_about(model, findings[0].change.prompt) if findings else ""
    body = table(head, rows, caption=f"{len(findings)} prompts; greedy answers unless set otherwise")
    return card(model, body, warning=warning)


def _row(finding: Finding, first: Finding) -> list[str]:
    change = finding.change
    name = ("placebo: " if change.is_placebo else "") + change.done if change.done else change.claim
    claim = tag("th", tag("em", name) if change.is_placebo else name, scope="row")
    same = finding.answer.strip() == first.answer.strip()
    answer = tag("td", text_of(finding.answer), class_=None if same else "wb-best")
    moved = "" if finding is first else nats(finding.nats - first.nats, "+")
    numbers = (
        tag("td", moved, class_="wb-number"),
        tag("td", percent(finding.ends_at_once), class_="wb-number"),
    )
    return [claim, text_of(change.prompt), answer, *numbers]
