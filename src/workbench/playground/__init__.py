"""A panel to ask models in JupyterLab, and each of its parts alone.

`playground()` is the whole panel. `ask`, `rank`, `tokens`, `doctor`, `across_languages` and `layers` are its parts: in a notebook that
somebody looks at each gives a widget, and in a run, a report or outside of Jupyter a static page with the same HTML, computed at once
(`live` decides otherwise). `show_static` displays what a widget shows now as HTML that is saved with the notebook.

Only `widgets` imports ipywidgets. Work is done in threads; what goes wrong is one sentence in the page of a widget, and raised where
there is none.
"""

from collections.abc import Sequence
from typing import Any

from workbench.models import Model
from workbench.playground.answers import ask_models
from workbench.playground.choices import PROTOCOLS, ranked
from workbench.playground.claims import doctor_page
from workbench.playground.examples import first_task, question
from workbench.playground.history import History
from workbench.playground.languages import across_page
from workbench.playground.layers import layers_page
from workbench.playground.opening import default_models
from workbench.playground.page import Html
from workbench.playground.settings import Settings
from workbench.playground.static import Static, is_live, show_static
from workbench.playground.surprisal import fertility, surprisal
from workbench.playground.widgets import parts
from workbench.playground.widgets.bar import Bar
from workbench.playground.widgets.panel import Alone, Panel

__all__ = [
    "Settings",
    "across_languages",
    "ask",
    "doctor",
    "layers",
    "playground",
    "rank",
    "show_static",
    "tokens",
]
Names = Sequence[str | Model] | None
_GREEDY = Settings()


def playground(
    models: Names = None,
    prompt: str = "",
    *,
    choices: Sequence[str] = (),
    settings: Settings = _GREEDY,
    live: bool | None = None,
) -> Any:
    """Return the panel: one control bar over ask, rank, tokens, prompt doctor, languages, layers, history and code.

    Args:
        models: One to four names or handles; by default the finetuned miniatures of both architectures.
        prompt: By default the first item of a task that fits the models, with its choices.
    """
    names = list(models or default_models())
    if not prompt:
        first = _first_item(names)
        prompt, choices = first.prompt, first.choices
    if _widget(live):
        return Panel(names, prompt, tuple(choices), settings)
    return Static(ask_models(names, prompt, settings)[0])


def ask(
    models: Names = None, prompt: str = "", *, settings: Settings = _GREEDY, live: bool | None = None
) -> Any:
    """Return models' answers to a prompt side by side, with what else was likely at each token.

    Raises:
        WorkbenchError: without a widget, as `generate` and `alternatives`.
    """
    names = list(models or default_models())
    prompt = prompt or _first_item(names).prompt
    if _widget(live):
        bar = Bar(names, prompt, settings)
        part = parts.ask_part(bar, History.beside_the_store())
        return Alone(bar, part, "models", "examples", "prompt", "settings")
    return Static(ask_models(names, prompt, settings)[0])


def rank(
    models: Names = None,
    prompt: str = "",
    choices: Sequence[str] = (),
    *,
    protocol: str = PROTOCOLS[0],
    live: bool | None = None,
) -> Any:
    """Return the choices' scores under a protocol, in nats and as shares, with margin and tie.

    Raises:
        WorkbenchError: without a widget, as `workbench.rank`.
    """
    names = list(models or default_models())
    if not prompt:
        first = _first_item(names)
        prompt, choices = first.prompt, first.choices
    if _widget(live):
        bar = Bar(names, prompt, _GREEDY)
        return Alone(bar, parts.rank_part(bar, tuple(choices), protocol), "models", "prompt")
    return Static(ranked(names, prompt, choices, protocol=protocol)[0])


def tokens(
    models: Names = None,
    text: str = "",
    *,
    prompt: str = "",
    per_language: bool = False,
    live: bool | None = None,
) -> Any:
    """Return a text coloured by surprisal, alone or after a prompt; `per_language` adds the tokens of a parallel sentence.

    Raises:
        WorkbenchError: without a widget, as `alternatives`.
    """
    names = list(models or default_models())
    text = text or _first_item(names).prompt
    if _widget(live):
        bar = Bar(names, prompt or text, _GREEDY)
        part = parts.tokens_part(bar, text if prompt else "")
        part.fields["parallel"].value = per_language
        return Alone(bar, part, "models", "prompt")
    found = surprisal(names, text, prompt=prompt)
    return Static(Html(found + fertility(names)) if per_language else found)


def doctor(
    models: Names = None,
    prompt: str = "",
    *,
    language: str = "English",
    settings: Settings = _GREEDY,
    live: bool | None = None,
) -> Any:
    """Return what the model cards' four pieces of advice do to a prompt, each beside a placebo.

    Raises:
        WorkbenchError: without a widget, as `generate` and `alternatives`.
    """
    names = list(models or default_models())
    prompt = prompt or _first_item(names).prompt
    if _widget(live):
        bar = Bar(names, prompt, settings)
        return Alone(bar, parts.doctor_part(bar, language), "models", "examples", "prompt", "settings")
    return Static(doctor_page(names, prompt, language=language, settings=settings)[0])


def across_languages(
    models: Names = None,
    task: str = "",
    *,
    number: int = 0,
    languages: Sequence[str] = (),
    live: bool | None = None,
) -> Any:
    """Return one question of a task, by number, in many languages: the answer, its language, right or wrong.

    Raises:
        WorkbenchError: without a widget, as `read_data`, `generate` and `rank`.
    """
    names = list(models or default_models())
    task = task or _first_task(names)
    if _widget(live):
        bar = Bar(names, "", Settings(max_new_tokens=12))
        return Alone(bar, parts.across_part(bar, task, number, tuple(languages)), "models", "settings")
    return Static(across_page(names, question(task, number=number, languages=languages))[0])


def layers(
    models: Names = None, prompt: str = "", *, words: Sequence[str] = (), live: bool | None = None
) -> Any:
    """Return what each layer says of the next token, and the probability of words that may come next.

    Raises:
        WorkbenchError: without a widget, as `lens`.
    """
    names = list(models or default_models())
    prompt = prompt or _first_item(names).prompt
    if _widget(live):
        bar = Bar(names, prompt, _GREEDY)
        return Alone(bar, parts.layers_part(bar, tuple(words)), "models", "prompt")
    return Static(layers_page(names, prompt, words=words)[0])


def _widget(live: bool | None) -> bool:
    return is_live() if live is None else live


def _first_task(names: Sequence[str | Model]) -> str:
    return first_task([one.label if isinstance(one, Model) else one for one in names])


def _first_item(names: Sequence[str | Model]) -> Any:
    return question(_first_task(names)).items[0]
