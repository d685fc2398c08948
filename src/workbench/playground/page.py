"""The HTML of the playground: the same for widgets, executed notebooks and reports.

Everything is plain HTML with a style sheet: no scripts, no requests. Colours are JupyterLab's own variables, with values for where
there are none. Where styles are removed (a notebook on GitHub), tables and text remain.
"""

from collections.abc import Callable, Iterable, Sequence
from html import escape
from pathlib import Path

from workbench.models import Model

_STYLES = Path(__file__).with_name("panel.css")


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


Show = Callable[[Html], None]  # gets what is known so far; an exception that it raises ends the work


def tag(name: str, *inside: str, **attributes: str | None) -> Html:
    """Return an element; text inside and attributes are escaped. `class_` is written class, `aria_label` aria-label; None is left out."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{written}>{joined(inside)}</{name}>")


def joined(parts: Iterable[str]) -> Html:
    """Return parts after each other; what is not HTML is escaped."""
    return Html("".join(part if isinstance(part, Html) else escape(part) for part in parts))


def page(*parts: str, label: str) -> Html:
    """Return a whole piece to be shown, with its style sheet: a group, since a page may hold many, and landmarks have to be unique."""
    styles = Html(f"<style>{_STYLES.read_text(encoding='utf-8')}</style>")
    return tag("div", styles, *parts, class_="wb", role="group", aria_label=label)


def card(model: Model, *inside: str, warning: str = "") -> Html:
    """Return a model's card with its badge; a folder is called by its last part, and a warning stands at the end."""
    name = Path(model.name).name if Path(model.name).is_dir() else model.label
    stamp = tag("span", model.badge, class_=f"wb-badge wb-{model.badge.lower()}")
    head = tag("div", tag("strong", name), " ", stamp, class_="wb-head")
    told = [note(warning, "warning")] if warning else []
    return tag(
        "div", head, *inside, *told, class_="wb-card", role="group", aria_label=f"{name}, {model.badge}"
    )


def cards(found: Sequence[str]) -> Html:
    """Return cards side by side; under each other where it is narrow."""
    return tag("div", *found, class_="wb-cards")


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str) -> Html:
    """Return a table with a caption, which can be scrolled with the keyboard; cells that are `td` or `th` already are kept."""
    first = tag("tr", *(tag("th", name, scope="col") for name in head))
    body = [tag("tr", *(each if is_cell(each) else tag("td", each) for each in row)) for row in rows]
    whole = tag("table", tag("caption", caption), tag("thead", first), tag("tbody", *body), class_="wb-table")
    return tag("div", whole, class_="wb-scroll", tabindex="0", role="group", aria_label=caption)


def is_cell(text: str) -> bool:
    """Whether a text is a cell of a table already."""
    return isinstance(text, Html) and text.startswith(("<td", "<th"))


def text_of(text: str, nothing: str = "(nothing)") -> Html:
    """Return a model's or user's text in its own direction, with its spaces; `nothing` where it is empty."""
    if not text.strip():
        return tag("em", nothing, class_="wb-faint")
    return tag("span", text, class_="wb-text", dir="auto")


def note(text: str, kind: str = "note") -> Html:
    """Return a sentence below a card's text: a "note" or a "warning"."""
    return tag("p", text, class_=f"wb-{kind}")


def error(text: str) -> Html:
    """Return a sentence about what went wrong, which screen readers read at once."""
    return page(tag("p", text, class_="wb-warning", role="alert"), label="Error")


def meter(share: float, text: str, label: str) -> Html:
    """Return a bar that is filled to a share of 0 to 1, with the number beside it."""
    filled = tag("span", "", style=f"width:{100 * min(max(share, 0.0), 1.0):.1f}%")
    bar = tag("span", filled, class_="wb-bar", role="img", aria_label=f"{label}: {text}")
    return tag("span", bar, " ", tag("span", text, class_="wb-number"), class_="wb-meter")


def percent(share: float) -> str:
    """Return a probability for a reader."""
    return f"{share:.1%}".replace("%", " %") if share >= 0.0005 else "< 0.1 %"


def nats(value: float, sign: str = "") -> str:
    """Return a log-probability for a reader; `sign` "+" also writes that of positive ones."""
    text = f"{value:{sign}.2f}"
    return text[1:] if text == "-0.00" else text
