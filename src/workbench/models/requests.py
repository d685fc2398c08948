"""Requests to an engine and its answers, as plain records; does not import torch."""

from dataclasses import dataclass, field
from typing import Any, Literal

Pooling = Literal["mean", "weighted", "last"]
Stack = Literal["encoder", "decoder"]
Part = Literal["states", "neurons", "cross_attention"]


@dataclass(frozen=True)
class Decoding:
    """All settings of a generation; sampling settings keep their defaults if `do_sample` is false."""

    max_new_tokens: int
    min_new_tokens: int = 0
    num_beams: int = 1
    repetition_penalty: float = 1.0
    do_sample: bool = False
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int | None = None


@dataclass(frozen=True)
class ToGenerate:
    """A prompt to be continued or answered; `sample` numbers the samples of one prompt."""

    prompt: str
    sample: int = 0


@dataclass(frozen=True)
class Decoded:
    """A generated text: the exact text, its tokens without the end token, and whether the model ended it."""

    text: str
    token_count: int
    finished: bool


@dataclass(frozen=True)
class ScoringRule:
    """Everything about tokenization and truncation that changes a score.

    `leading_space`: a space is put before the text. `score_end`: the end token is part of the score. `special_tokens`: the
    tokenizer's special tokens are added to the prompt (for a decoder only those before it, such as Llama's `<s>`).
    `max_prompt_tokens`: longer prompts are cut at the end (None: a prompt beyond the model's context is refused). `joined`: a
    decoder's prompt and text are tokenized as one string and split after as many tokens as the prompt alone has.
    `empty_prompt_is_end`: a decoder without a prompt reads the end token instead.
    """

    leading_space: bool = False
    score_end: bool = False
    special_tokens: bool = True
    max_prompt_tokens: int | None = None
    joined: bool = False
    empty_prompt_is_end: bool = False


@dataclass(frozen=True)
class ToScore:
    """A text to be scored after a prompt; with an empty prompt, the text alone."""

    prompt: str
    text: str


@dataclass(frozen=True)
class ToCount:
    """Texts over whose tokens the activity of neurons is averaged, each after its prompt; without prompts, the texts alone."""

    texts: tuple[str, ...]
    prompts: tuple[str, ...] | None = None


@dataclass(frozen=True)
class TokenScores:
    """The tokens of a text and their log-probabilities in nats (None if nothing precedes the token)."""

    tokens: tuple[str, ...]
    logprobs: tuple[float | None, ...]
    truncated: bool = False


@dataclass(frozen=True)
class ComputeOptions:
    """How scores are computed, with no effect beyond rounding.

    `batch_tokens`: maximum tokens per batch (None: the default for the device). `exact`: one sequence at a time on one thread,
    sharing no computation, so that a machine with the same library versions gives identical bits at every call.
    """

    batch_tokens: int | None = None
    exact: bool = False


@dataclass(frozen=True)
class StateOptions:
    """How hidden states are read: from which stack, and how token states are pooled into one vector."""

    stack: Stack
    pooling: Pooling


@dataclass(frozen=True)
class TextPositions:
    """A text that is read as a prompt, and the positions whose states are asked for (None: all); negative ones from its end."""

    text: str
    positions: tuple[int, ...] | None = None


@dataclass(frozen=True)
class AnsweredPositions(TextPositions):
    """The same in the decoder, which goes on with the beginning of an answer, exactly as written; positions count the decoder's tokens."""

    answer: str = ""


@dataclass(frozen=True)
class ToLens:
    """A prompt, the beginning of its answer exactly as written, and words that may come next."""

    prompt: str
    answer: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Lens:
    """What each of L+1 layers says of the next token, in nats: log-probabilities of tokens, entropies, the likeliest tokens.

    `kl` is the divergence of each layer's distribution from the last layer's.
    """

    logprobs: list[list[float]]
    entropies: list[float]
    top: list[list[list[Any]]]
    tokens: list[str] = field(default_factory=list)
    words: list[list[int]] = field(default_factory=list)
    kl: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class TokenAlternatives:
    """The steps of an answer, its end last: the text that each token adds, its log-probability in nats (None if nothing precedes
    the token), and the likeliest tokens in its place as [text, log-probability], best first."""

    texts: list[str]
    logprobs: list[float | None]
    top: list[list[list[Any]]]


@dataclass(frozen=True)
class IdsToGenerate:
    """The token ids of a prompt to be continued or answered, and the text that seeds its noise when sampling."""

    ids: tuple[int, ...]
    noise: str


@dataclass(frozen=True)
class IdsToScore:
    """Token ids to be scored after those of a prompt, which may be empty in a decoder; an encoder reads the prompt."""

    prompt: tuple[int, ...]
    ids: tuple[int, ...]


@dataclass(frozen=True)
class TokenRank:
    """The log-probability of a token in nats, and the likeliest tokens in its place with theirs, best first."""

    logprob: float
    top: tuple[tuple[int, float], ...]
