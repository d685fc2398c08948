"""Imports of transformers in half the time and with 110 MB less: without the compiler of torch, its distributed tensors, sympy, scipy.

They are imported for models that are compiled or split over processes and for object detection, none of which the engine uses;
and transformers looks through its 1,600 files twice.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from threading import RLock
from types import ModuleType
from typing import Any

_COMPILER = "torch._dynamo"
_MARKS = ("allow_in_graph", "assume_constant_result", "disable")  # decorators that only the compiler reads
_CALLED_LATER = {  # functions that transformers takes from modules, but does not call
    f"{_COMPILER}._trace_wrapped_higher_order_op": "TransformGetItemToIndex",
    "scipy.optimize": "linear_sum_assignment",
}
_LOCK = RLock()


@contextmanager
def quick_import() -> Iterator[None]:
    """Leave out, where transformers is imported and a model loaded in the context, what one process does not need.

    `torch.compile` and scipy work as usual afterwards. It has no effect in one of several processes that compute together.
    """
    if "WORLD_SIZE" in os.environ:
        yield
        return
    torch: Any = import_module("torch")
    scanning: Any = import_module("transformers.utils.import_utils")
    with (
        _LOCK,
        _stubbed(),
        # it remembers what it found, but is asked for the folder of models by two names
        _replaced(
            scanning, "create_import_structure_from_path", lambda scan: lambda path: scan(_folder(path))
        ),
        _replaced(torch.distributed, "is_available", lambda _: lambda: False),
        _replaced(torch.nn.init, "normal_", _unless_meta),
    ):
        yield


@contextmanager
def _replaced(module: Any, name: str, change: Callable[[Any], Any]) -> Iterator[None]:
    usual = getattr(module, name)
    setattr(module, name, change(usual))
    try:
        yield
    finally:
        setattr(module, name, usual)


def _folder(path: str | Path) -> Path:
    return Path(path).parent if str(path).endswith(".py") else Path(path)


def _unless_meta(fill: Any) -> Any:
    """Return the function that fills a tensor, which leaves those without values alone: torch would import sympy for them."""
    return lambda tensor, *given, **options: tensor if tensor.is_meta else fill(tensor, *given, **options)


class _Stub(ModuleType):
    """Stands for a module; the module itself is imported when something else of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)


@contextmanager
def _stubbed() -> Iterator[None]:
    """Have the modules that are left out stood for by stubs."""
    stubs = {name: stub for name, stub in _stubs().items() if name not in sys.modules}
    sys.modules.update(stubs)
    try:
        yield
    finally:
        for name in [name for name, stub in stubs.items() if sys.modules.get(name) is stub]:
            del sys.modules[name]


def _stubs() -> dict[str, ModuleType]:
    compiler = _Stub(_COMPILER)
    place = find_spec(_COMPILER)
    compiler.__path__ = list(place.submodule_search_locations or []) if place else []
    for mark in _MARKS:
        setattr(compiler, mark, _unchanged)
    stubs: dict[str, ModuleType] = {_COMPILER: compiler}
    for module, name in _CALLED_LATER.items():
        stubs[module] = _Stub(module)
        setattr(stubs[module], name, _later(module, name))
    return stubs


def _unchanged(function: Any = None, *_: Any, **__: Any) -> Any:
    return _unchanged if function is None else function


def _later(module: str, name: str) -> Callable[..., Any]:
    """Return a function that imports what it stands for when it is called."""

    def call(*given: Any, **options: Any) -> Any:
        return getattr(import_module(module), name)(*given, **options)

    return call
