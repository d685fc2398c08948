"""Tokens: text coloured by surprisal, the likeliest alternatives of each token, and how many tokens a text costs in each language."""

from collections.abc import Sequence
from math import exp

from workbench.errors import BadInput
from workbench.family import family_with_data, fitting_source
from workbench.inference.alternatives import Alternatives, Step, alternatives
from workbench.inference.scoring import score
from workbench.models import Model
from workbench.models.arguments import text as expect_text
from workbench.playground.opening import opened, warning_about
from workbench.playground.page import (
    Html,
    Show,
    card,
    cards,
    joined,
    meter,
    note,
    page,
    percent,
    table,
    tag,
    text_of,
)
from workbench.tasks import read_texts

_DARKEST = 12.0  # nats of surprisal
_LEGEND = (
    "The darker a token, the more surprising it is. Hover, or use the Tab key, for what else was likely."
)


def surprisal(
    models: Sequence[str | Model], text: str, *, prompt: str = "", k: int = 5, show: Show | None = None
) -> Html:
    """Return a text coloured by its surprisal under each model, after a prompt or alone; `show` gets the page after each model.

    Raises:
        WorkbenchError: as `alternatives` and `opened`.
    """
    expect_text("the text", text)
    found, legend = [], tag("p", _LEGEND, class_="wb-note")
    for model in opened(models):
        found.append(_card(model, alternatives(model, prompt, text, k)))
        if show:
            show(page(cards(found), legend, label="Surprisal"))
    return page(cards(found), legend, label="Surprisal")


def _card(model: Model, found: Alternatives) -> Html:
    known = [step.logprob for step in found.steps[:-1] if step.logprob is not None]
    mean = -sum(known) / len(known) if known else 0.0
    about = f"{len(found.steps) - 1} tokens, on average {mean:.2f} nats of surprisal"
    alone = model.is_encoder_decoder and not found.prompt
    told = ["scored in the decoder without a prompt, for which it was not trained"] if alone else []
    warning = warning_about(model, found.prompt + found.answer)
    return card(
        model,
        coloured(found),
        note("; ".join([about, *told])),
        warning=warning,
    )


def coloured(found: Alternatives) -> Html:
    """Return an answer whose characters are coloured by surprisal, each with its alternatives."""
    groups = found.characters
    tokens = [_token(steps, is_end=place == len(groups)) for place, steps in enumerate(groups, start=1)]
    nothing = [] if found.answer.strip() else [text_of("")]
    return tag("div", *nothing, *tokens, class_="wb-tokens", dir="auto")


def _token(steps: tuple[Step, ...], *, is_end: bool) -> Html:
    """Return the tokens that make a whole character, or mostly one token with several."""
    text = steps[-1].text
    known = [step.logprob for step in steps if step.logprob is not None]
    nats = -sum(known)
    lines = [
        f"{_quoted(text)}  {nats:.2f} nats, {percent(exp(-nats))}"
        if known
        else f"{_quoted(text)}  nothing before it"
    ]
    lines += [line for step in steps for line in _alternatives(step)]
    strength = min(max(nats, 0.0) / _DARKEST, 1.0) * 0.5
    return tag(
        "span", text.replace("\n", "↵\n"), class_="wb-token wb-end" if is_end else "wb-token", tabindex="0", role="note", data_tip="\n".join(lines),
        aria_label="; ".join(lines), style=f"background:rgb(213 94 0 / {strength:.2f})",
    )  # fmt: skip


def _alternatives(step: Step) -> list[str]:
    return [f"{percent(exp(value)):>8}  {_quoted(text)}" for text, value in step.top]


def _quoted(text: str) -> str:
    return f"“{text}”".replace("\n", "↵")


def fertility(
    models: Sequence[str | Model], *, source: str = "", languages: Sequence[str] = (), number: int = 0
) -> Html:
    """Return how many tokens one parallel sentence costs in each language.

    Raises:
        BadInput: sentences in fewer than two languages; otherwise as `read_texts`, `score` and `opened`.
    """
    handles = opened(models)
    fitting = fitting_source([model.name for model in handles])
    name = source or (fitting if family_with_data(fitting) else "parallel")
    rows = read_texts(name, languages=list(languages) or None, limit=number + 1, shared=True).rows
    cluster = [*dict.fromkeys(row["cluster"] for row in rows)][-1:]
    texts = {row["language"]: row["text"] for row in rows if [row["cluster"]] == cluster}
    if len(texts) < 2:
        raise BadInput(f"{name} has this sentence in {len(texts)} language(s); choose others")
    return page(*(_fertility(model, texts) for model in handles), label="Tokens per language")


def _fertility(model: Model, texts: dict[str, str]) -> Html:
    scored = score(model, list(texts.values()), progress=False)
    counts = {code: len(found.tokens) for code, found in zip(texts, scored, strict=True)}
    first, most = next(iter(counts)), max(counts.values())
    rows = [
        (
            code,
            text_of(texts[code]),
            meter(count / most, str(count), f"tokens in {code}"),
            f"× {count / counts[first]:.2f}",
        )
        for code, count in counts.items()
    ]
    head = ("language", "the same sentence", "tokens", f"against {first}")
    return card(model, joined([table(head, rows, caption="Tokens of one sentence by language")]))
