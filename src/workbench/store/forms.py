"""The valid forms of a store's records, so that damaged or fabricated ones are found before they are used.

Every kind of answer that an engine gives needs an entry in `ANSWERS`; a test compares the two.
"""

import io
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from workbench.store.rows import canonical

_ROUNDING = 1e-3  # nats by which rounding may raise the log-probability of a certain token above 0
_NAMED = ("kind", "weights", "tokenizer", "dtype")


def expect_context(text: object) -> dict[str, Any]:
    """Return the settings in a context.

    Raises:
        ValueError: the context is invalid; the message gives the reason (as for all functions in this module).
    """
    fields = _json_object(text)
    if canonical(fields) != text:
        raise ValueError("its settings are not in the one form that is hashed")
    wrong = [name for name in _NAMED if not isinstance(fields.get(name), str)]
    if wrong:
        raise ValueError(f"its settings lack {', '.join(wrong)}")
    if fields["kind"] not in ANSWERS:
        raise ValueError(f"its kind {fields['kind']!r} is none of {', '.join(ANSWERS)}")
    return fields


def expect_origin(device: object, batch_size: object, made: object) -> None:
    """Check the device, batch size and time recorded with an answer."""
    if not isinstance(device, str) or not device.isidentifier() or len(device) > 40:
        raise ValueError("its device is no name of a family of devices")
    if not isinstance(batch_size, int) or batch_size < 0:
        raise ValueError("its batch size is no whole number")
    if not isinstance(made, float) or not math.isfinite(made):
        raise ValueError("its time is no number")


def _expect_generated(value: Any) -> None:
    _expect_fields(value, {"text": str, "token_count": int, "finished": bool})
    if value["token_count"] < 0:
        raise ValueError("it has less than no tokens")


def _expect_scores(value: Any) -> None:
    _expect_fields(value, {"tokens": list, "logprobs": list, "truncated": bool})
    tokens, logprobs = value["tokens"], value["logprobs"]
    if not tokens or len(tokens) != len(logprobs) or not all(isinstance(token, str) for token in tokens):
        raise ValueError("it does not hold one log-probability for each of at least one token")
    known = logprobs[1:] if logprobs[0] is None else logprobs
    if not all(type(each) in (int, float) and -math.inf < each <= _ROUNDING for each in known):
        raise ValueError("a log-probability is no number of at most 0")


def _expect_states(value: Any) -> None:
    if not isinstance(value, bytes):
        raise ValueError("it is no array")
    file = io.BytesIO(value)
    try:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError("another version")
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    except (ValueError, EOFError) as error:
        raise ValueError(f"it is no array: {error}") from error
    data = value[file.tell() :]
    if dtype != np.float32 or len(shape) != 2 or math.prod(shape) * 4 != len(data) or not data:
        raise ValueError("it is no array of float32, layers by width")
    if not np.isfinite(np.frombuffer(data, np.float32)).all():
        raise ValueError("a state is no finite number")


ANSWERS: dict[str, Callable[[Any], None]] = {
    "generate": _expect_generated,
    "score": _expect_scores,
    "states": _expect_states,
}


def _expect_fields(value: Any, fields: dict[str, type]) -> None:
    if not isinstance(value, dict) or value.keys() != fields.keys():
        raise ValueError(f"it is no record of {', '.join(fields)}")
    for name, kind in fields.items():
        if type(value[name]) is not kind:
            raise ValueError(f"its {name} is no {kind.__name__}")


def _json_object(text: object) -> dict[str, Any]:
    if not isinstance(text, str):
        raise ValueError("it is no text")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError("it is no JSON") from error
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")
    return found
