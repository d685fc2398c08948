"""The control bar that the parts share: models, prompt, examples and settings."""

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as widgets

from workbench.models import Model
from workbench.playground.settings import Settings
from workbench.playground.widgets.fields import Examples, Models, Prompt, Setting


class Bar:
    """The shared fields; `on_enter` is called at Enter in the prompt, and `on_example` gets the choices of a chosen example."""

    def __init__(
        self, models: Sequence[str | Model] | None, prompt: str, settings: Settings, *, label: str = "Prompt"
    ) -> None:
        self.on_enter: Callable[[], None] = lambda: None
        self.on_example: Callable[[tuple[str, ...]], None] = lambda _: None
        self.models = Models(models)
        self.prompt = Prompt(prompt, self._enter, label)
        self.examples = Examples(self.models, self._fill)
        self.settings = Setting(settings)

    def _enter(self) -> None:
        self.on_enter()

    def _fill(self, prompt: str, choices: tuple[str, ...]) -> None:
        self.prompt.widget.value = prompt
        self.on_example(choices)

    def widget(self, *kinds: str) -> widgets.VBox:
        """Return the fields of these kinds: "models", "examples", "prompt", "settings"."""
        parts: dict[str, Any] = {
            kind: getattr(self, kind).widget for kind in ("models", "examples", "prompt", "settings")
        }
        return widgets.VBox([parts[kind] for kind in kinds])
