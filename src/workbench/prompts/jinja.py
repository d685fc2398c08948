"""The Jinja environments of templates: sandboxed, with reproducible random choices and nulls that raise.

promptsource's own environment draws from Python's global generator, so its prompts differ from run to run. Here the random
choices depend only on the template and the row. Third-party templates also get promptsource's functions.

Source: bigscience-workshop/promptsource, `promptsource/templates.py` (commit 00fac7c): the filters `choice` and
`most_frequent` and the function `zip`; `range` and `namespace` are Jinja's.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

from jinja2 import StrictUndefined, pass_context
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment, safe_range
from jinja2.utils import Namespace

BAR = "|||"
_BAR_IN_DATA = "\ue000\ue001\ue000"  # replaces a bar in a field until the text is split
_GENERATOR: ContextVar[Callable[[], random.Random]] = ContextVar("generator")


class Null:
    """A null in the data: false, equal to None, and an error when it is rendered, instead of the text "None"."""

    def __init__(self, field: str) -> None:
        self._field = field

    def __str__(self) -> str:
        raise ValueError(f"the field {self._field!r} is null; give it a value, or leave the row out")

    __repr__ = __str__

    def __bool__(self) -> bool:
        return False

    def __eq__(self, other: object) -> bool:
        return other is None or isinstance(other, Null)

    def __hash__(self) -> int:
        return hash(None)


def shown(value: Any, field: str) -> Any:
    """Return a value of the data in the form templates see: `|||` in it does not separate, and rendering a null raises."""
    if isinstance(value, str):
        return value.replace(BAR, _BAR_IN_DATA)
    if value is None:
        return Null(field)
    if isinstance(value, Mapping):
        return {name: shown(each, f"{field}.{name}") for name, each in value.items()}
    if isinstance(value, list | tuple):
        items = [shown(each, field) for each in value]
        return tuple(items) if isinstance(value, tuple) else items
    return value


def parts(text: str) -> tuple[str, ...]:
    """Split a rendered text at `|||`, then restore any `|||` that came from the data."""
    return tuple(part.replace(_BAR_IN_DATA, BAR).strip() for part in text.split(BAR))


@contextmanager
def drawing_by(key: Callable[[], str]) -> Iterator[None]:
    """Seed the random choices of templates in the block with `key()`, which is called only if one is made."""
    token = _GENERATOR.set(cache(lambda: random.Random(key())))
    try:
        yield
    finally:
        _GENERATOR.reset(token)


@pass_context  # otherwise Jinja evaluates it once, at compile time
def _choice(_: Context, items: Iterable[Any]) -> Any:
    return _GENERATOR.get()().choice(list(items))


def _most_frequent(items: Sequence[Any]) -> list[Any]:
    """Return all items with the highest frequency, in order of first occurrence."""
    counts = Counter(items)
    most = max(counts.values(), default=0)
    return [item for item, count in counts.items() if count == most]


def _zip(*columns: Iterable[Any]) -> list[tuple[Any, ...]]:
    return list(zip(*columns, strict=False))


def _environment(**functions: Any) -> ImmutableSandboxedEnvironment:
    made = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
    made.globals.clear()
    made.globals.update(functions)
    made.filters |= {"random": _choice, "choice": _choice, "most_frequent": _most_frequent}
    made.tests["none"] = lambda value: value is None or isinstance(value, Null)
    return made


OURS = _environment()  # without `range` and the like, which can make huge strings
FOREIGN = _environment(zip=_zip, namespace=Namespace, range=safe_range)
