"""A part of the panel: its fields, a button to run it, a button to stop it, and its page."""

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as widgets

from workbench.playground.page import Html, page, tag
from workbench.playground.widgets.jobs import Job, Work

_LABEL = {"description_width": "84px"}
_SHORT = {"description_width": "initial"}


def field(kind: Callable[..., Any], label: str, tip: str = "", *, wide: bool = False, **how: Any) -> Any:
    """Return a form field with a label, which screen readers read, too."""
    is_number = kind in (widgets.BoundedIntText, widgets.BoundedFloatText, widgets.IntText)
    narrow = widgets.Layout(width="auto", max_width="150px" if is_number else "360px")
    layout = widgets.Layout(width="auto") if wide else narrow
    style = _LABEL if wide else _SHORT
    return kind(description=label, tooltip=tip or label, layout=layout, style=style, **how)


def row(*children: Any) -> widgets.Box:
    """Return fields beside each other, which wrap where it is narrow."""
    layout = widgets.Layout(flex_flow="row wrap", align_items="center", grid_gap="4px 10px")
    return widgets.Box(children, layout=layout)


class Shown(widgets.VBox):
    """Widgets that say, where no widget can be shown, how to see them."""

    def _repr_mimebundle_(self, **how: Any) -> dict[str, Any]:
        told = tag("p", "A form of the playground: run this cell in JupyterLab; show_static keeps its page.")
        return {
            **super()._repr_mimebundle_(**how),
            "text/html": told,
            "text/plain": "a form of the playground",
        }


class Part(Shown):
    """Fields, buttons and a page that is made in a thread.

    Attributes:
        html: The page as it is now.
        run_button, stop_button: What starts and stops the work.
        job: The work.
        fields: Those of its fields that are its own, by name.
    """

    def __init__(self, label: str, fields: Sequence[Any], work: Callable[[], Work], *, verb: str) -> None:
        self._work = work
        self.fields: dict[str, Any] = {}
        self.run_button = widgets.Button(description=verb, button_style="primary", tooltip=f"{verb}: {label}")
        self.stop_button = widgets.Button(description="Stop", disabled=True, tooltip=f"Stop: {label}")
        self._state = widgets.HTML("")
        self._page = widgets.HTML("", layout=widgets.Layout(overflow="visible"))
        self.job = Job(self._show, self._busy)
        self.run_button.on_click(lambda _: self.run())
        self.stop_button.on_click(lambda _: self.job.stop())
        buttons = row(self.run_button, self.stop_button, self._state)
        super().__init__([*fields, buttons, self._page], layout=widgets.Layout(overflow="visible"))

    @property
    def html(self) -> Html:
        """The page as it is now."""
        return Html(self._page.value)

    def run(self) -> None:
        """Begin the work with what the fields say now."""
        self.job.start(self._work())

    def _show(self, html: Html) -> None:
        self._page.value = html

    def _busy(self, running: bool) -> None:
        self.run_button.disabled, self.stop_button.disabled = running, not running
        said = tag("span", "working …" if running else "done", class_="wb-faint", role="status")
        self._state.value = page(said, label="State")
