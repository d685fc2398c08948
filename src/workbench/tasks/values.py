"""Interpretation of cell values: integers in several notations, nulls, and values that JSON cannot represent."""

import datetime
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

from workbench.errors import BadInput
from workbench.prompts import is_text

_AS_TEXT = (datetime.date, datetime.time, datetime.timedelta, Decimal, UUID)  # a datetime is a date


def whole(value: Any) -> int | None:
    """Return the integer in a cell (1, 1.0, "1", "1.0"); None for anything else."""
    if isinstance(value, bool) or not re.fullmatch(r"-?\d{1,18}(\.0+)?", str(value).strip()):
        return None
    return int(str(value).strip().partition(".")[0])


def given(row: Mapping[str, Any], name: str, default: Any) -> Any:
    """Return the value of a field, or the default if the field is missing, null or empty."""
    value = row.get(name)
    return default if value is None or value == "" else value


def expect_count(name: str, value: Any, *, least: int = 1) -> None:
    """Check that an argument is an integer of at least `least`.

    Raises:
        BadInput: it is not; the message names the argument and its value.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__") or value < least:
        raise BadInput(f"{name}={value!r}; give a whole number of at least {least}")


def plain(value: Any, where: str) -> Any:
    """Return a value in a form that JSON can hold: NaN becomes null, dates and decimals become strings.

    Raises:
        BadInput: bytes, an infinite number, a lone surrogate, or any other object; the message begins with `where`.
    """
    if isinstance(value, str):
        if not is_text(value):
            raise BadInput(f"{where} holds half of a surrogate pair: {value[:40]!r}; repair the text")
        return value
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float) and not math.isinf(value):
        return None if math.isnan(value) else value
    if isinstance(value, list | tuple):
        return [plain(each, where) for each in value]
    if isinstance(value, dict):
        return {plain(str(name), where): plain(each, where) for name, each in value.items()}
    if isinstance(value, _AS_TEXT):
        return str(value)
    raise BadInput(f"{where} holds {repr(value)[:40]}; give texts, finite numbers, lists or objects")
