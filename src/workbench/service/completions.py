"""Completions in the process of a model: prompts as texts or token ids become choices with log-probabilities.

For an encoder–decoder the end token splits a prompt: the encoder reads the part up to and including it, and the rest is the
beginning of the answer. A prompt without an end token is for the encoder alone. For prompts given as ids, `input_tokens` states
how many of these the encoder reads, with or without an end token. In `echo`, tokens that the encoder reads have
no log-probability (null), and the end token that closes them has 0, since it is given.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.errors import BadInput
from workbench.models.engines import TokenEngine
from workbench.models.requests import Decoding, IdsToGenerate, IdsToScore, TokenRank

_ROWS = 32  # prompts decoded at once


@dataclass(frozen=True)
class _Prompt:
    """Token ids: `source` for the encoder (empty without one), `target` before the answer; `noise` seeds its samples."""

    source: tuple[int, ...]
    target: tuple[int, ...]
    noise: str

    @property
    def read(self) -> tuple[int, ...]:
        """The token ids that the model reads before it generates."""
        return self.source or self.target


@dataclass(frozen=True)
class _Choice:
    """A choice to be scored: its prompt, the generated ids, its text, and why it ended."""

    prompt: _Prompt
    ids: tuple[int, ...]
    text: str
    reason: str


def complete(engine: object, settings: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a choice for every prompt and sample; settings are those of the OpenAI protocol, checked before.

    Raises:
        BadInput: an engine that does not work on token ids, a prompt that it cannot take, or what the engine refuses.
    """
    if not isinstance(engine, TokenEngine):
        raise BadInput("the engine of this model does not work on token ids; choose another engine")
    prompts = _prompts(engine, settings)
    if _only_scores(settings):
        choices = [_Choice(prompt, (), "", "length") for prompt in prompts for _ in range(settings["n"])]
        yield from _scored(engine, choices, settings, next_token=settings["max_tokens"] == 1)
        return
    for positions, choices in _generated(engine, prompts, settings):
        yield from _scored(engine, choices, settings, positions=positions)


def _only_scores(settings: dict[str, Any]) -> bool:
    """Whether one forward pass is enough: nothing is generated, or only the likeliest token after an echo.

    lm-evaluation-harness requests such a token and drops it.
    """
    greedy = settings["echo"] and settings["temperature"] == 0
    return bool(settings["max_tokens"] == 0 or (settings["max_tokens"] == 1 and greedy))


def _prompts(engine: TokenEngine, settings: dict[str, Any]) -> list[_Prompt]:
    given = settings["prompts"]
    texts = [prompt for prompt in given if isinstance(prompt, str)]
    encoded = iter(engine.encode(texts))
    read = settings["input_tokens"] or [None] * len(given)
    if len(read) != len(given) or (
        settings["input_tokens"] and (texts or not engine.identity.is_encoder_decoder)
    ):
        raise BadInput(
            f"input_tokens has {len(read)} numbers for {len(given)} prompts; give one for each prompt, as token ids, of an encoder–decoder"
        )
    return [
        _prompt(engine, next(encoded), prompt, settings, None)
        if isinstance(prompt, str)
        else _prompt(engine, prompt, " ".join(map(str, prompt)), settings, count)
        for prompt, count in zip(given, read, strict=True)
    ]


def _prompt(
    engine: TokenEngine, ids: list[int], noise: str, settings: dict[str, Any], read: int | None
) -> _Prompt:
    """Split the ids of a prompt, after `read` of them or after the first end token.

    Raises:
        BadInput: no tokens, ids outside the vocabulary, more than the context holds, or the beginning of an answer that
            should be continued.
    """
    identity, longest = engine.identity, settings["max_tokens"]
    if not ids or min(ids) < 0 or max(ids) >= engine.token_count:
        raise BadInput(
            f"a prompt has {len(ids)} tokens from {min(ids, default=0)} to {max(ids, default=0)}; give at least one, "
            f"from 0 to {engine.token_count - 1}"
        )
    cut = read or (ids.index(engine.end) + 1 if engine.end in ids else len(ids))
    source, target = (tuple(ids[:cut]), tuple(ids[cut:])) if identity.is_encoder_decoder else ((), tuple(ids))
    if source and source[-1] != engine.end and read is None:
        source = (*source, engine.end)
    if max(len(source), len(target) + (0 if source else longest)) > identity.context_length:
        raise BadInput(
            f"a prompt has {len(ids)} tokens; with max_tokens={longest} {identity.name} takes {identity.context_length} in all"
        )
    if source and _only_scores(settings) and engine.end not in ids and read is None:
        raise BadInput(
            f"{identity.name} reads its input in an encoder: put its end token ({engine.names([engine.end])[0]}, id {engine.end}) "
            "between the input and the answer that is to be scored"
        )
    if source and target and not _only_scores(settings):
        raise BadInput(
            f"{identity.name} cannot continue an answer begun in the prompt after the end token; to score it, set echo, "
            "max_tokens 0 or 1, and temperature 0"
        )
    return _Prompt(source, target, noise)


def _generated(
    engine: TokenEngine, prompts: Sequence[_Prompt], settings: dict[str, Any]
) -> Iterator[tuple[list[int], list[_Choice]]]:
    sampled = settings["temperature"] > 0
    decoding = Decoding(
        max_new_tokens=settings["max_tokens"],
        do_sample=sampled,
        temperature=settings["temperature"] if sampled else 1.0,
        top_p=settings["top_p"] if sampled else 1.0,
        seed=settings["seed"] if sampled else None,
    )
    of = [prompt for prompt in prompts for _ in range(settings["n"])]
    asked = [
        IdsToGenerate(prompt.read, f"{decoding.seed}|{place % settings['n']}|{prompt.noise}")
        for place, prompt in enumerate(of)
    ]
    for positions, found in engine.generate_ids(asked, decoding, _ROWS):
        yield (
            positions,
            [
                _cut(engine, of[place], tuple(ids), settings["stop"])
                for place, ids in zip(positions, found, strict=True)
            ],
        )


def _cut(engine: TokenEngine, prompt: _Prompt, ids: tuple[int, ...], stops: Sequence[str]) -> _Choice:
    """End a generation before the first stop text, with the tokens up to the one that completes it."""
    decoded = engine.decode(ids)
    places = [place for place in map(decoded.text.find, stops) if place >= 0]
    if not places:
        kept = ids[: decoded.token_count + decoded.finished]
        return _Choice(prompt, kept, decoded.text, "stop" if decoded.finished else "length")
    counts = range(1, decoded.token_count)
    count = next((n for n in counts if any(s in engine.decode(ids[:n]).text for s in stops)), len(ids))
    return _Choice(prompt, ids[:count], decoded.text[: min(places)], "stop")


def _scored(
    engine: TokenEngine,
    choices: Sequence[_Choice],
    settings: dict[str, Any],
    *,
    positions: Sequence[int] | None = None,
    next_token: bool = False,
) -> Iterator[dict[str, Any]]:
    """Yield finished choices, with log-probabilities if they are requested or needed.

    Args:
        next_token: append the likeliest next token to each choice; it is found in the rank of an end token scored in its place.
    """
    top, echo = settings["logprobs"], settings["echo"]
    ranks: dict[int, list[TokenRank]] = {}
    if next_token or top is not None:
        extra = (engine.end,) if next_token else ()
        asked = [_to_score(choice, extra, echo=echo and top is not None) for choice in choices]
        worth = [number for number, each in enumerate(asked) if len(each.prompt) + len(each.ids) > 1]
        for found, rows in engine.score_ids([asked[number] for number in worth], max(top or 0, 1)):
            ranks |= {worth[place]: row for place, row in zip(found, rows, strict=True)}
    for number, choice in enumerate(choices):
        row = ranks.get(number, [])
        done = _with_next(engine, choice, row) if next_token else choice
        index = number if positions is None else positions[number]
        yield {"index": index, **_shown(engine, done, row, settings)}


def _to_score(choice: _Choice, extra: tuple[int, ...], *, echo: bool) -> IdsToScore:
    prompt, answer = choice.prompt, (*choice.ids, *extra)
    if prompt.source:
        return IdsToScore(prompt.source, (*prompt.target, *answer))
    return IdsToScore((), (*prompt.target, *answer)) if echo else IdsToScore(prompt.target, answer)


def _with_next(engine: TokenEngine, choice: _Choice, row: list[TokenRank]) -> _Choice:
    ((token, logprob), *_) = row[-1].top
    row[-1] = TokenRank(logprob, row[-1].top)
    decoded = engine.decode([token])
    return _Choice(choice.prompt, (token,), decoded.text, "stop" if decoded.finished else "length")


def _shown(
    engine: TokenEngine, choice: _Choice, row: Sequence[TokenRank], settings: dict[str, Any]
) -> dict[str, Any]:
    """Return a choice in the form of the protocol."""
    prompt = (*choice.prompt.source, *choice.prompt.target)
    ended = sum(token == engine.end for token in choice.ids[-1:])
    text = (engine.text(prompt) if settings["echo"] else "") + choice.text
    shown: dict[str, Any] = {"text": text, "finish_reason": choice.reason, "logprobs": None}
    if settings["logprobs"] is not None:
        ids = (*prompt, *choice.ids) if settings["echo"] else choice.ids
        shown["logprobs"] = _logprobs(engine, ids, row, choice, settings)
    return {**shown, "prompt_tokens": len(prompt), "completion_tokens": len(choice.ids) - ended}


def _logprobs(
    engine: TokenEngine,
    ids: Sequence[int],
    row: Sequence[TokenRank],
    choice: _Choice,
    settings: dict[str, Any],
) -> dict[str, Any]:
    named = _by_id if settings.get("return_tokens_as_token_ids") else engine.names
    row = row[len(row) - min(len(row), len(ids)) :]
    before = len(ids) - len(row)
    given: list[float | None] = [None] * before
    tops: list[dict[str, float] | None] = [None] * before
    if settings["echo"] and choice.prompt.source[-1:] == (engine.end,):
        place = len(choice.prompt.source) - 1
        given[place], tops[place] = 0.0, {named([engine.end])[0]: 0.0}
    return {
        "tokens": named(ids),
        "token_logprobs": [*given, *(rank.logprob for rank in row)],
        "top_logprobs": [*tops, *(_top(named, rank, settings["logprobs"]) for rank in row)]
        if settings["logprobs"]
        else None,
    }


def _by_id(ids: Sequence[int]) -> list[str]:
    return [f"token_id:{token}" for token in ids]


def _top(named: Callable[[Sequence[int]], list[str]], rank: TokenRank, count: int) -> dict[str, float]:
    best = rank.top[:count]
    return dict(zip(named([token for token, _ in best]), [value for _, value in best], strict=True))
