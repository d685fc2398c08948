"""Models by name, kept for the whole session: handles are lazy, and their weights are read once."""

import warnings
from collections.abc import Sequence
from functools import lru_cache

from workbench.errors import BadInput
from workbench.family import family_of, find, shipped
from workbench.models import Model, load

MOST = 4


def opened(models: Sequence[str | Model]) -> list[Model]:
    """Return one to four handles for names or handles.

    Raises:
        BadInput: none, more than four, or one twice.
        UnknownName: no such model; the message lists the nearest names.
    """
    names = [one.label if isinstance(one, Model) else one.strip() for one in models]
    if not 1 <= len(names) <= MOST or len(set(names)) < len(names):
        raise BadInput(f"got {len(names)} models ({', '.join(names)}); name one to {MOST} different ones")
    _quiet()
    return [one if isinstance(one, Model) else _kept(one.strip()) for one in models]


def default_models() -> tuple[str, ...]:
    """Return the multilingually finetuned checkpoints that ship, one for each architecture; without any, the smallest of the catalogue."""
    first: dict[str, str] = {}
    for name in shipped():
        found = find(name)
        if found.mixture == "xP3":
            first.setdefault(found.architecture, name)
    return tuple(first.values()) or ("bloomz-560m", "mt0-small")


def warning_about(model: Model, prompt: str) -> str:
    """Return what the model's family says against a prompt; empty if nothing."""
    family = family_of(model.name)
    check = family.check_prompts if family else None
    return (check([prompt]) or "") if check else ""


@lru_cache(maxsize=32)
def _kept(name: str) -> Model:
    model = load(name)
    _ = model.badge  # an unknown name is refused here, before anything is computed
    return model


@lru_cache(maxsize=1)
def _quiet() -> None:
    """Keep the warnings of models about prompts off the notebook's cells: the cards show them."""
    warnings.filterwarnings("ignore", category=UserWarning, module=r"workbench\.playground")
