"""The client of the model service: opens a model in a running service instead of in this process.

This is not a separate kind of engine: the service computes with the engine that the handle names, so answers have the same
keys. A service is used only if it has the same weights, tokenizer, engine and library versions; otherwise the model is loaded
in this process, with a warning.
"""

import warnings
from importlib import import_module

from workbench.engines.client.address import address, is_named
from workbench.engines.client.wanted import Wanted
from workbench.errors import ServiceFailed
from workbench.models import Model
from workbench.models.engines import Engine

__all__ = ["Wanted", "find", "wanted"]


def find(model: Model) -> Engine | None:
    """Return an engine for a handle in the running service; None if there is no service, or it cannot serve this model.

    Raises:
        BadInput, NotReachable: the service tried to load the model and failed, as this process would.
    """
    place = address()
    if place is None:
        return None
    client = import_module("workbench.engines.client.engine")  # imported late: httpx takes 0.2 s to import
    try:
        engine: Engine = client.open_served(place, wanted(model))
    except ServiceFailed as error:
        if is_named() or client.answers(place):  # otherwise it is the socket of a service that was killed
            warnings.warn(f"{error}; {model.name} is loaded in this process instead", stacklevel=2)
        return None
    return engine


def wanted(model: Model) -> Wanted:
    """Return the model that a handle requests from a service."""
    return Wanted.of(model)
