"""Sanitised HTML from notebooks: it loads nothing, runs nothing, sends nothing and cannot cover the rest of the page.

Links are kept. Tables keep their styles: rules of a `<style>` apply inside outputs only, and to properties that do not move
elements.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import bleach
import tinycss2
from bleach.css_sanitizer import ALLOWED_CSS_PROPERTIES, CSSSanitizer

_TAGS = bleach.ALLOWED_TAGS | {
    "br", "caption", "col", "colgroup", "dd", "del", "details", "div", "dl", "dt", "figcaption", "figure", "h1", "h2", "h3",
    "h4", "h5", "h6", "hr", "img", "mark", "p", "pre", "s", "small", "span", "sub", "summary", "sup", "table", "tbody", "td",
    "tfoot", "th", "thead", "tr", "u",
}  # fmt: skip
_ATTRIBUTES = {
    "alt", "align", "aria-label", "border", "class", "colspan", "dir", "height", "id", "lang", "role", "rowspan", "scope", "start", "style", "title",
    "width",
}  # fmt: skip
_SIDES = ("", "-top", "-right", "-bottom", "-left")
_PROPERTIES = (ALLOWED_CSS_PROPERTIES - {"float", "clear", "cursor", "direction", "text-indent"}) | {
    *(f"border{side}{part}" for side in _SIDES for part in ("", "-color", "-style", "-width")),
    *(f"padding{side}" for side in _SIDES),
    "background", "border-radius", "border-spacing", "gap", "grid-template-columns", "max-width", "min-width", "opacity", "overflow-wrap",
    "visibility",
}  # fmt: skip
_LINK = re.compile(r"(https?://|mailto:|#)|[^:]*$", re.IGNORECASE)
_HIDDEN = re.compile(r"<(style|script)\b[^>]*>(.*?)(</\1\s*>|$)", re.IGNORECASE | re.DOTALL)


@cache
def clean(html: str | bytes) -> str:
    """Return the harmless part of some HTML; the content of unknown elements is kept as text."""
    text = html.decode(errors="replace") if isinstance(html, bytes) else str(html)
    styles = [rule for found in _HIDDEN.finditer(text) for rule in _rules(*found.group(1, 2))]
    body = bleach.clean(
        _HIDDEN.sub("", text),
        tags=_TAGS,
        attributes=_is_harmless,
        protocols=["data", "http", "https", "mailto"],
        strip=True,
        css_sanitizer=_css(),
    )
    return (f"<style>{''.join(styles)}</style>" if styles else "") + body


@cache
def _css() -> Any:
    return CSSSanitizer(allowed_css_properties=_PROPERTIES)


def _is_harmless(tag: str, name: str, value: str) -> bool:
    if name == "href":
        return tag == "a" and _LINK.match(value.strip()) is not None
    if name == "src":
        return tag == "img" and value.strip().startswith("data:image/")
    if name == "tabindex":
        return value.strip() == "0"  # reachable, in the order of the page
    return name in _ATTRIBUTES


def _rules(element: str, text: str) -> Iterator[str]:
    """Yield the permitted rules of a style sheet, each restricted to outputs."""
    if element.lower() != "style":
        return
    for rule in tinycss2.parse_stylesheet(text, skip_comments=True, skip_whitespace=True):
        if rule.type != "qualified-rule":
            continue
        selectors = tinycss2.serialize(rule.prelude).split(",")
        declarations = _css().sanitize_css(tinycss2.serialize(rule.content))
        shown = f"{','.join(f'.output_html {each.strip()}' for each in selectors)} {{ {declarations} }}"
        if declarations and "<" not in shown:
            yield shown
