"""The replies of a server's `/completions`, read with care: what is missing or does not fit is refused, not guessed."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from workbench.errors import BadInput

_BY_ID = re.compile(r"token_id:(\d+)")


@dataclass(frozen=True)
class Choice:
    """One completion: its text, whether the model ended it, and its tokens with their log-probabilities, if they were returned; and
    the likeliest tokens in their places, if they were asked for."""

    text: str
    finished: bool
    tokens: tuple[str, ...]
    logprobs: tuple[float | None, ...]
    top: tuple[dict[str, float] | None, ...] = ()


def choices_in(reply: dict[str, Any], count: int) -> list[Choice]:
    """Return the completions of a request's prompts, in order.

    Raises:
        BadInput: not one for each prompt, or not in the form of the protocol.
    """
    try:
        found = sorted(reply["choices"], key=lambda choice: int(choice.get("index", 0)))
        choices = [_choice(each) for each in found]
        numbers = [int(each.get("index", 0)) for each in found]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(f"the server's reply does not follow the completions protocol: {error!r}") from error
    if numbers != list(range(count)):
        raise BadInput(f"the server answered the prompts {numbers} of {count}; it has to answer each once")
    return choices


def _choice(given: dict[str, Any]) -> Choice:
    about = given.get("logprobs") or {}
    tokens = tuple(str(token) for token in about.get("tokens") or ())
    logprobs = tuple(None if each is None else float(each) for each in about.get("token_logprobs") or ())
    text, top = str(given.get("text") or ""), tuple(about.get("top_logprobs") or ())
    return Choice(text, given.get("finish_reason") == "stop", tokens, logprobs, top)


def echoed(choice: Choice, ids: Sequence[int], scored: int, *, first_is_given: bool) -> tuple[float, ...]:
    """Return the log-probabilities of the last `scored` of the ids that a prompt was sent as.

    Args:
        first_is_given: nothing precedes the first token, so that a server must not have a log-probability for it.

    Raises:
        BadInput: the server did not echo the prompt, or not with one log-probability for each of these tokens.
    """
    if len(choice.logprobs) != len(ids):
        seen = f"{len(choice.logprobs)} log-probabilities" if choice.logprobs else "no log-probabilities"
        raise BadInput(f"the server returned {seen} for a prompt of {len(ids)} tokens that it was to echo")
    if first_is_given and choice.logprobs[0] is not None:
        raise BadInput(
            f"the server returned {choice.logprobs[0]!r} as the log-probability of a prompt's first token, which nothing precedes"
        )
    found = choice.logprobs[len(ids) - scored :]
    for logprob in found:
        if logprob is None or not _is_logprob(logprob):
            raise BadInput(
                f"the server returned {logprob!r} as the log-probability of a token; it has to be a number up to 0"
            )
    return tuple(logprob for logprob in found if logprob is not None)


def likeliest(choice: Choice, scored: int, top: int) -> list[list[float]]:
    """Return for each of the last `scored` tokens the log-probabilities of the `top` likeliest in its place, and then their ids.

    Raises:
        BadInput: the server did not return so many for each, or calls tokens by their text, which several may share.
    """
    rows = [likely or {} for likely in choice.top[len(choice.top) - scored :]] if scored else []
    if len(rows) != scored or any(len(row) < top for row in rows):
        raise BadInput(
            f"the server did not return the {top} likeliest tokens in each place of a prompt (`echo` with `logprobs={top}`)"
        )
    found = []
    for row in rows:
        best = sorted(row.items(), key=lambda each: -each[1])[:top]
        ids = [_BY_ID.fullmatch(name) for name, _ in best]
        if None in ids or not all(_is_logprob(value) for _, value in best):
            raise BadInput(
                f"the server calls likely tokens {[name for name, _ in best]}, and their numbers are needed, since several may have one "
                "text; use a server with `return_tokens_as_token_ids`, as vLLM and `workbench serve`"
            )
        found.append([*(float(value) for _, value in best), *(float(one[1]) for one in ids if one)])
    return found


def _is_logprob(number: float) -> bool:
    return math.isfinite(number) and number <= 1e-3  # rounding in half precision can exceed 0
