"""The valid forms of a store's records, so that damaged or fabricated ones are found before they are used.

A checksum shows that a record is unchanged, not that a model can have produced it. The latter is checked here: when a stored
answer is read for a call, when a pack is imported, and by `workbench store check`. All functions raise ValueError with the
reason.
"""

import json
import math
from typing import Any

from workbench.store.keys import canonical

KINDS = ("generate", "score", "states", "lens", "alternatives")  # of answers; `checking` has the form of each
_ROUNDING = 1e-3  # nats by which rounding may raise the log-probability of a certain token above 0
_NAMED = ("kind", "weights", "tokenizer", "dtype")


def expect_context(text: object) -> dict[str, Any]:
    """Return the settings in a context."""
    fields = _json_object(text)
    if canonical(fields) != text:
        raise ValueError("its settings are not in canonical form")
    wrong = [name for name in _NAMED if not isinstance(fields.get(name), str)]
    if wrong:
        raise ValueError(f"its settings lack {', '.join(wrong)}")
    if fields["kind"] not in KINDS:
        raise ValueError(f"its kind is {fields['kind']!r}, not one of {', '.join(KINDS)}")
    return fields


def expect_origin(device: object, batch_size: object, made: object) -> None:
    """Check the device, batch size and time recorded with an answer."""
    if not isinstance(device, str) or not device.isidentifier() or len(device) > 40:
        raise ValueError("its device is not the name of a device family")
    if not isinstance(batch_size, int) or batch_size < 0:
        raise ValueError("its batch size is not a whole number")
    if not isinstance(made, float) or not math.isfinite(made):
        raise ValueError("its time is not a number")


def generated(value: Any) -> dict[str, Any]:
    """Return a generated text, the number of its tokens, and whether it ended by itself."""
    found = _fields(value, {"text": str, "token_count": int, "finished": bool})
    if found["token_count"] < 0:
        raise ValueError("its number of tokens is negative")
    return found


def scores(value: Any) -> dict[str, Any]:
    """Return the tokens of a text with their log-probabilities; only the first may have none."""
    found = _fields(value, {"tokens": list, "logprobs": list, "truncated": bool})
    tokens, logprobs = found["tokens"], found["logprobs"]
    if not tokens or len(tokens) != len(logprobs) or not all(isinstance(token, str) for token in tokens):
        raise ValueError("it has no tokens, or not one log-probability for each")
    known = logprobs[1:] if logprobs[0] is None else logprobs
    if not all(map(_is_logprob, known)):
        raise ValueError("a log-probability is not a number of at most 0")
    return found


def alternatives(value: Any) -> dict[str, Any]:
    """Return the steps of an answer: a text, a log-probability, and the likeliest tokens for each; only the first may have none."""
    found = _fields(value, {"texts": list, "logprobs": list, "top": list})
    texts, logprobs, top = found["texts"], found["logprobs"], found["top"]
    if not texts or not len(texts) == len(logprobs) == len(top):
        raise ValueError("it has no steps, or not a text, a log-probability and likeliest tokens for each")
    start = 1 if logprobs[0] is None else 0
    pairs = [pair for step in top for pair in step]
    if not all(isinstance(text, str) for text in [*texts, *(text for text, _ in pairs)]):
        raise ValueError("the text of a token is not text")
    if not all(map(_is_logprob, [*logprobs[start:], *(number for _, number in pairs)])):
        raise ValueError("a log-probability is not a number of at most 0")
    if not all(top[start:]):
        raise ValueError("a step has no likeliest tokens")
    return found


def lens(value: Any) -> dict[str, Any]:
    """Return what each layer says of the next token: one row per layer of log-probabilities, an entropy, and the likeliest tokens."""
    kinds = ["logprobs", "entropies", "top", "tokens", "words"]
    if isinstance(value, dict) and "kl" in value:  # readings of algorithm 1 have none
        kinds.append("kl")
    found = _fields(value, dict.fromkeys(kinds, list))
    layers, tokens = len(found["entropies"]), found["tokens"]
    if not layers or any(len(found[name]) != layers for name in {"logprobs", "top", "kl"} & {*kinds}):
        raise ValueError(
            "it has not one row of log-probabilities, entropy, divergence and likeliest tokens for each layer"
        )
    if not all(isinstance(token, str) for token in tokens) or not all(found["words"]):
        raise ValueError("a token is not text, or a word has none")
    if not all(type(one) is int and 0 <= one < len(tokens) for word in found["words"] for one in word):
        raise ValueError("the tokens of a word are not among its tokens")
    if not all(_is_logprob(-number) for number in found.get("kl", [])):
        raise ValueError("a divergence is not a number of at least 0")
    for row, entropy, top in zip(found["logprobs"], found["entropies"], found["top"], strict=True):
        numbers = [*row, *(number for _, number in top), -entropy]
        if len(row) != len(tokens) or not all(_is_logprob(number) for number in numbers):
            raise ValueError(
                "a log-probability is not a number of at most 0, or an entropy not one of at least 0"
            )
    return found


def _is_logprob(number: Any) -> bool:
    return type(number) in (int, float) and -math.inf < number <= _ROUNDING


def _fields(value: Any, fields: dict[str, type]) -> dict[str, Any]:
    if not isinstance(value, dict) or value.keys() != fields.keys():
        raise ValueError(f"it is not a record of {', '.join(fields)}")
    for name, kind in fields.items():
        if type(value[name]) is not kind:
            raise ValueError(f"its {name} is not of type {kind.__name__}")
    return value


def _json_object(text: object) -> dict[str, Any]:
    if not isinstance(text, str):
        raise ValueError("it is not text")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError("it is not JSON") from error
    if not isinstance(found, dict):
        raise ValueError("it is not a JSON object")
    return found
