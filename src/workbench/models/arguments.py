"""Validate arguments and convert them to lists of strings and plain numbers.

Any iterable is accepted (a list, a generator, a pandas Series, a numpy array) and is read once; the result goes into the
key of the answers.
"""

import math
from collections.abc import Iterable, Mapping
from numbers import Real
from operator import index
from typing import Any

from workbench.errors import BadInput


def as_list(name: str, given: Iterable[Any], of: str = "texts") -> list[Any]:
    """Read an iterable into a list.

    Raises:
        BadInput: a single string, a table, a mapping, or an object that is not iterable.
    """
    if isinstance(given, str | bytes):
        raise BadInput(f"{name} is one string; give a list of {of}")
    if isinstance(given, Mapping) or hasattr(given, "columns"):
        raise BadInput(f"{name} is a {type(given).__name__}; give a list of {of}, or one column of it")
    if not isinstance(given, Iterable):
        raise BadInput(f"{name} is {shown(given)}; give a list of {of}")
    return list(given)


def texts(name: str, given: Iterable[str], *, one: str, empty: bool = False) -> list[str]:
    """Read a list of texts; each must be a string that can be encoded and, by default, is not blank.

    Args:
        one: the word for a single text in messages, which number texts from 0.
        empty: allow empty and blank texts.
    """
    found = as_list(name, given)
    return [text(f"{one} {number}", each, empty=empty) for number, each in enumerate(found)]


def text(name: str, given: object, *, empty: bool = False) -> str:
    """Read one text, called `name` in messages.

    Raises:
        BadInput: not a string, blank, or with a lone surrogate, which UTF-8 cannot encode.
    """
    if not isinstance(given, str):
        raise BadInput(f"{name} is {shown(given)}, a {type(given).__name__}; give a text (str)")
    if not empty and not given.strip():
        raise BadInput(f"{name} is {given!r}; give some text")
    try:
        given.encode()
    except UnicodeEncodeError as error:
        raise BadInput(
            f"{name} has a lone surrogate, {given[error.start]!r}, at character {error.start}; "
            "read the text as UTF-8 again, or replace that character"
        ) from None
    return str(given)


def whole(name: str, given: object, least: int | None = 1) -> int:
    """Read an integer; `True`, 1.5 and '1' are refused.

    Raises:
        BadInput: the message names the parameter and the allowed values.
    """
    allowed = "a whole number" if least is None else f"a whole number of at least {least}"
    try:
        number = index(given)  # type: ignore[arg-type]
    except TypeError:
        raise BadInput(f"{name}={shown(given)}; give {allowed}") from None
    if isinstance(given, bool) or (least is not None and number < least):
        raise BadInput(f"{name}={shown(given)}; give {allowed}")
    return number


def number(name: str, given: object, *, above: float = 0.0, most: float = math.inf) -> float:
    """Read a finite number greater than `above` and at most `most`.

    Raises:
        BadInput: the message names the parameter and the allowed values.
    """
    allowed = f"a number above {above:g}" + (f" and at most {most:g}" if most < math.inf else "")
    if isinstance(given, bool) or not isinstance(given, Real):
        raise BadInput(f"{name}={shown(given)}; give {allowed}")
    found = float(given)
    if not (math.isfinite(found) and above < found <= most):
        raise BadInput(f"{name}={found!r}; give {allowed}")
    return found


def flag(name: str, given: object) -> bool:
    """Read True or False.

    Raises:
        BadInput: anything else, such as "no".
    """
    if not isinstance(given, bool):
        raise BadInput(f"{name}={shown(given)}; give True or False")
    return given


def shown(given: object) -> str:
    """Return the representation of a value for a message; one of more than 60 characters is cut."""
    text = repr(given)
    return text if len(text) <= 60 else f"{text[:57]}…"
