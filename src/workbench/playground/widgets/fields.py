"""The fields that parts share: models, prompt, examples, settings."""

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as widgets

from workbench.errors import WorkbenchError
from workbench.models import Model
from workbench.playground.examples import CARD_PROMPTS, languages_for, question, tasks_for, templates_for
from workbench.playground.opening import default_models
from workbench.playground.settings import STRATEGIES, Settings
from workbench.playground.widgets.part import field, row

_NONE = "–"


class Models:
    """A field with one to four names, separated by commas; handles that were given keep their settings."""

    def __init__(self, models: Sequence[str | Model] | None = None) -> None:
        given = list(models) if models else list(default_models())
        self._handles = {one.label: one for one in given if isinstance(one, Model)}
        names = ", ".join(one.label if isinstance(one, Model) else one for one in given)
        tip = "One to four names, separated by commas: any that `load` takes"
        self.widget = field(widgets.Text, "Models", tip, wide=True, value=names, placeholder=tip)

    @property
    def value(self) -> list[str | Model]:
        """The names, or the handles that were given under them."""
        names = [name.strip() for name in self.widget.value.split(",") if name.strip()]
        return [self._handles.get(name, name) for name in names]

    @property
    def names(self) -> list[str]:
        """The names as text."""
        return [one.label if isinstance(one, Model) else one for one in self.value]


class Prompt:
    """A field for the prompt; Enter at its end calls `run`, and Ctrl-Enter, anywhere in the form, presses its button."""

    def __init__(self, text: str, run: Callable[[], None], label: str = "Prompt") -> None:
        tip = "Ctrl-Enter, or Enter at the end of the text, runs it; a line break inside it stays"
        self.widget = field(widgets.Textarea, label, tip, wide=True, value=text, rows=3, placeholder=tip)
        self._run = run
        self.widget.observe(self._changed, "value")

    @property
    def value(self) -> str:
        """The text."""
        return str(self.widget.value)

    def _changed(self, change: dict[str, Any]) -> None:
        if change["new"] == f"{change['old']}\n":
            self.widget.value = change["old"]
            self._run()


class Examples:
    """Fields that fill in a prompt: those of the model cards, or an item of a task in a language and wording."""

    def __init__(self, models: Models, fill: Callable[[str, tuple[str, ...]], None]) -> None:
        self._fill = fill
        names = [name for name in models.names if name]
        tasks = tasks_for(names)
        own = [(f"card: {name}", name) for name in CARD_PROMPTS]
        options = [("choose an example", _NONE), *((f"task: {name}", name) for name in tasks), *own]
        self.example = field(widgets.Dropdown, "Example", options=options, value=_NONE)
        self.language = field(widgets.Dropdown, "Language", options=[_NONE], value=_NONE)
        self.wording = field(widgets.Dropdown, "Wording", options=[_NONE], value=_NONE)
        self.number = field(widgets.BoundedIntText, "Item", value=0, min=0, max=999)
        self._tasks, self._filling = tasks, False
        self.example.observe(self._chosen, "value")
        for each in (self.language, self.wording, self.number):
            each.observe(self._item, "value")
        self.widget = row(self.example, self.language, self.wording, self.number)

    def _chosen(self, _: object) -> None:
        name = self.example.value
        if name in CARD_PROMPTS:
            self._fill(CARD_PROMPTS[name], ())
        elif name in self._tasks:
            self._filling = True  # setting options fires observers
            try:
                self.language.options, self.wording.options = languages_for(name), templates_for(name)
                self.language.value, self.wording.value = self.language.options[0], self.wording.options[0]
            finally:
                self._filling = False
            self._item(None)

    def _item(self, _: object) -> None:
        if self._filling or self.example.value not in self._tasks:
            return
        try:
            asked = question(
                self.example.value,
                number=self.number.value,
                template=self.wording.value,
                languages=[self.language.value],
            )
        except WorkbenchError:  # fewer items than the number
            return
        self._fill(asked.items[0].prompt, asked.items[0].choices)


class Setting:
    """Fields for how answers are generated."""

    def __init__(self, settings: Settings) -> None:
        self.strategy = field(widgets.Dropdown, "Strategy", options=STRATEGIES, value=settings.strategy)
        self.length = field(
            widgets.BoundedIntText, "Length", "tokens at most", value=settings.max_new_tokens, min=1, max=512
        )
        self.beams = field(widgets.BoundedIntText, "Beams", value=settings.beams, min=2, max=16)
        self.temperature = field(
            widgets.BoundedFloatText, "Temperature", value=settings.temperature, min=0.05, max=5, step=0.1
        )
        self.seed = field(widgets.IntText, "Seed", value=settings.seed)
        self.strategy.observe(self._enable, "value")
        self._enable(None)
        self.widget = row(self.strategy, self.length, self.beams, self.temperature, self.seed)

    @property
    def value(self) -> Settings:
        """The settings as the fields say."""
        return Settings(
            self.strategy.value, self.length.value, self.beams.value, self.temperature.value, self.seed.value
        )

    def _enable(self, _: object) -> None:
        self.beams.disabled = self.strategy.value != "beams"
        self.temperature.disabled = self.seed.disabled = self.strategy.value != "sampling"
