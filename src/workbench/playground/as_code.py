"""What the panel does, as code for a cell."""

from collections.abc import Sequence

from workbench.playground.page import Html, page, tag
from workbench.playground.settings import Settings


def as_code(models: Sequence[str], prompt: str, settings: Settings) -> str:
    """Return the Python that gives the same answers from the same store."""
    options = ", ".join(f"{name}={value!r}" for name, value in settings.options.items())
    return (
        "from workbench import generate, load\n\n"
        f"prompt = {prompt!r}\n"
        f"for name in {list(models)!r}:\n"
        f"    (answer,) = generate(load(name), [prompt], {options})\n"
        "    print(name, repr(answer.text))"
    )


def code_page(models: Sequence[str], prompt: str, settings: Settings) -> Html:
    """Return that code, to be copied."""
    return page(
        tag("pre", tag("code", as_code(models, prompt, settings)), tabindex="0", class_="wb-code"),
        label="As code",
    )
