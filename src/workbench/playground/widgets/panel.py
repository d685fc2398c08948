"""The panel: the control bar above the parts, one tab each."""

from collections.abc import Sequence

import ipywidgets as widgets

from workbench.models import Model
from workbench.playground.as_code import code_page
from workbench.playground.history import History
from workbench.playground.page import Html
from workbench.playground.settings import Settings
from workbench.playground.widgets import parts
from workbench.playground.widgets.bar import Bar
from workbench.playground.widgets.keys import FORM, ctrl_enter
from workbench.playground.widgets.part import Part, Shown

_BAR = ("models", "examples", "prompt", "settings")


class Alone(Shown):
    """One part below the fields that it needs; it begins at once if there is a prompt."""

    def __init__(self, bar: Bar, part: Part, *kinds: str) -> None:
        self.bar, self.part = bar, part
        bar.on_enter = part.run
        parts = [bar.widget(*kinds), part, ctrl_enter()]
        super().__init__(parts, layout=widgets.Layout(overflow="visible"))
        self.add_class(FORM)
        if bar.prompt.value or "prompt" not in kinds:
            part.run()

    @property
    def html(self) -> Html:
        """The part's page as it is now."""
        return self.part.html


class Panel(Shown):
    """All parts, in tabs under one bar; the first is asked at once, which also reads the weights.

    Attributes:
        bar: The shared fields.
        parts: The parts by title.
        tabs: The tabs, in the same order.
    """

    def __init__(
        self, models: Sequence[str | Model] | None, prompt: str, choices: tuple[str, ...], settings: Settings
    ) -> None:
        self.bar, self.history = Bar(models, prompt, settings), History.beside_the_store()
        rank = parts.rank_part(self.bar, choices)
        self.parts = {
            "Ask": parts.ask_part(self.bar, self.history),
            "Rank": rank,
            "Tokens": parts.tokens_part(self.bar),
            "Doctor": parts.doctor_part(self.bar),
            "Languages": parts.across_part(self.bar),
            "Layers": parts.layers_part(self.bar),
            "History": parts.page_part("the history", self.history.page, "Show history"),
            "As code": parts.page_part("the code", self._code, "Show code"),
        }
        self.tabs = widgets.Tab(
            list(self.parts.values()), titles=tuple(self.parts), layout=widgets.Layout(overflow="visible")
        )
        self.bar.on_enter = self._run_current
        self.bar.on_example = lambda found: self._choices(rank, found)
        self.tabs.observe(self._opened, "selected_index")
        whole = [self.bar.widget(*_BAR), self.tabs, ctrl_enter()]
        super().__init__(whole, layout=widgets.Layout(overflow="visible"))
        self.add_class("wb-panel").add_class(FORM)
        self.parts["Ask"].run()

    @property
    def current(self) -> Part:
        """The part whose tab is open."""
        return list(self.parts.values())[self.tabs.selected_index or 0]

    @property
    def html(self) -> Html:
        """The open part's page as it is now."""
        return self.current.html

    def _run_current(self) -> None:
        self.current.run()

    def _code(self) -> Html:
        return code_page(self.bar.models.names, self.bar.prompt.value, self.bar.settings.value)

    def _opened(self, _: object) -> None:
        if self.current in (self.parts["History"], self.parts["As code"]):
            self.current.run()

    def _choices(self, rank: Part, choices: tuple[str, ...]) -> None:
        if choices:
            rank.fields["choices"].value = " | ".join(choices)
