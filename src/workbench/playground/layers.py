"""Layers: what each layer says of the next token after one prompt (the logit lens)."""

from collections.abc import Sequence
from math import exp

from workbench.inference.generation import generate
from workbench.inference.lens import LensReading, lens
from workbench.models import Model
from workbench.models.arguments import text as expect_text
from workbench.playground.opening import opened, warning_about
from workbench.playground.page import Html, Show, card, note, page, percent, table, tag
from workbench.words import units

_PRINTABLE = [
    *range(0x21, 0x7F),
    *range(0xA1, 0xAD),
    *range(0xAE, 0x100),
]  # bytes that byte-level tokens write as themselves
_BYTES = {chr(byte): byte for byte in _PRINTABLE} | {
    chr(256 + place): byte for place, byte in enumerate(byte for byte in range(256) if byte not in _PRINTABLE)
}
_TOP = 3


def layers_page(
    models: Sequence[str | Model],
    prompt: str,
    *,
    words: Sequence[str] = (),
    answer: str = "",
    show: Show | None = None,
) -> tuple[Html, dict[str, LensReading]]:
    """Return the likeliest next tokens and the entropy at each layer, and the probability of words that may come next.

    Args:
        words: By default the first word of the model's own answer.
        answer: The beginning of an answer, after which is read.
        show: Gets the page after each model.

    Raises:
        WorkbenchError: as `lens`, `generate` and `opened`.
    """
    expect_text("the prompt", prompt)
    found, cards = {}, []
    for model in opened(models):
        asked = [*words] or _own_word(model, prompt)
        (reading,) = lens(model, [prompt], [asked], answers=[answer], top=_TOP, progress=False)
        found[model.label] = reading
        cards.append(_card(model, prompt, asked, reading))
        if show:
            show(page(*cards, label="Layers"))
    return page(*cards, label="Layers"), found


def _own_word(model: Model, prompt: str) -> list[str]:
    (one,) = generate(model, [prompt], max_new_tokens=8, progress=False)
    return [unit.strip() for unit in units(one.text.strip())[:1]] or ["a"]


def _card(model: Model, prompt: str, words: Sequence[str], reading: LensReading) -> Html:
    last = len(reading.entropies) - 1
    masses = [reading.mass([number]) for number in range(len(words))]
    rows = []
    for layer in range(last, -1, -1):
        name = tag(
            "th",
            f"{layer}{' (the model)' if layer == last else ' (embeddings)' if layer == 0 else ''}",
            scope="row",
        )
        top = [_token(text, value) for text, value in reading.top[layer]]
        numbers = [percent(float(mass[layer])) for mass in masses]
        rows.append([name, *top, *numbers, f"{reading.entropies[layer]:.2f}"])
    head = ("layer", *(f"{place}. token" for place in range(1, len(reading.top[0]) + 1)), *(f"P({word})" for word in words), "entropy, nats")  # fmt: skip
    warning = warning_about(model, prompt)
    return card(
        model, table(head, rows, caption="What each layer says of the next token, the last layer first"),
        note("P(word): of its first token, with and without a space. Middle layers are read in the last layer's basis."),
        warning=warning,
    )  # fmt: skip


def _token(name: str, value: float) -> Html:
    strength = 0.5 * exp(value)
    shown = tag("span", readable(name), class_="wb-text", dir="auto")
    return tag("td", shown, " ", tag("span", percent(exp(value)), class_="wb-number"), style=f"background:rgb(0 114 178 / {strength:.2f})")  # fmt: skip


def readable(name: str) -> str:
    """Return a token of the vocabulary as text: bytes as characters, spaces as spaces; a part of a character by its bytes."""
    if "▁" in name or any(sign not in _BYTES for sign in name):
        return name.replace("▁", " ")
    raw = bytes(_BYTES[sign] for sign in name)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return "⟨" + raw.hex(" ") + "⟩"
