"""What a part shows where there is no widget: in executed notebooks, reports and pages."""

import os
import sys
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any

from IPython.display import display

from workbench.playground.page import Html

_BREAKS = {"tr", "p", "div", "caption", "li"}


@dataclass(frozen=True, repr=False)
class Static:
    """A part as HTML, displayed without a widget."""

    html: Html

    def __repr__(self) -> str:
        return plain(self.html)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        saved = self.html.replace(
            " data-tip=", " title="
        )  # reports and GitHub keep no styles that could show it
        return {"text/html": saved, "text/plain": plain(self.html)}


def show_static(part: Any) -> None:
    """Display what a part shows now as HTML that stays in a saved notebook, a report and a page; a widget does not."""
    display(Static(Html(part.html)))


def is_live() -> bool:
    """Whether widgets can be shown: in a notebook that somebody looks at, and not in a run or outside of Jupyter."""
    return "ipykernel" in sys.modules and not os.environ.get("WORKBENCH_BATCH")


def plain(html: str) -> str:
    """Return the text of a page, a line for each row of a table."""
    reader = _Reader()
    reader.feed(html)
    lines = (" ".join(line.split()) for line in "".join(reader.parts).splitlines())
    return "\n".join(line for line in lines if line)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_style = tag == "style"
        self.parts.append("  " if tag in ("td", "th") else "\n" if tag in _BREAKS else "")

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False
        self.parts.append("\n" if tag in _BREAKS else "")

    def handle_data(self, data: str) -> None:
        if not self._in_style:
            self.parts.append(data)
