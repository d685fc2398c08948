"""The models that stand beside those under study where only the latter were given: their bases, and partners of one kind."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from workbench.errors import BadInput, UnknownName
from workbench.family import badge_of, find, parents
from workbench.family.served import declared_checkpoint


def reference_models(
    kinds: Mapping[str, str], defaults: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the values of parameters of the types `Base` and `Partner` that follow from given ones of the type `Model`.

    Bases that are not named are those of the catalogue; default partners of another kind than the models are left out.

    Args:
        kinds: The type of each parameter that names models.

    Raises:
        BadInput: models without a known base.
        UnknownName: no such model; the message lists near ones.
    """
    fields = [name for name, kind in kinds.items() if kind == "Model"]
    if not any(name in given for name in fields):
        return {}
    models = [text for name in fields for text in texts_in({**defaults, **given}[name])]
    badges = {badge_of(name) for name in models}
    found: dict[str, Any] = {}
    for name, kind in kinds.items():
        if kind == "Base" and not given.get(name):
            found[name] = parents(models)
        elif kind == "Partner" and name not in given:
            others = {badge_of(text) for text in texts_in(defaults[name])}
            found |= {name: type(defaults[name])()} if others - badges else {}
    return found


def expect_distinct(models: Sequence[str], bases: Sequence[str]) -> None:
    """Refuse a model that is named twice, also once by its hub id, or that is a base as well.

    Raises:
        BadInput: there is one; the message names it.
    """
    count = Counter([*map(_hub_id, models), *{_hub_id(name) for name in bases}])
    if twice := [name for name in dict.fromkeys((*models, *bases)) if count[_hub_id(name)] > 1]:
        raise BadInput(
            f"{', '.join(twice)} is named more than once; name every model once, and no base as a model"
        )


def _hub_id(name: str) -> str:
    if declared_checkpoint(name) != name:  # a file or a server of a checkpoint is another form of it
        return name
    try:
        return find(name).hub_id
    except UnknownName:
        return name


def texts_in(value: Any) -> Iterator[str]:
    """Yield every text in a parameter's value, at any depth of lists and dicts."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from texts_in(part)
