"""What is asked of an engine and what it answers: plain records, no torch.

An engine takes whole lists and yields finished batches as (positions, answers), in the order that suits it, so that
the caller can commit batch by batch.
"""

from dataclasses import dataclass
from typing import Literal

Pooling = Literal["mean", "weighted", "last"]
Side = Literal["encoder", "decoder"]


@dataclass(frozen=True)
class Decoding:
    """All settings of a generation; those of sampling stay at their defaults when `do_sample` is false."""

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
    """A prompt to be continued or answered; `sample` tells apart several samples of one prompt."""

    prompt: str
    sample: int = 0


@dataclass(frozen=True)
class Decoded:
    """What was generated: exact text, tokens without the end token, and whether the model ended by itself."""

    text: str
    token_count: int
    finished: bool


@dataclass(frozen=True)
class ScoringRule:
    """Everything about tokenising and truncating that changes a score.

    `leading_space`: the text gets a space in front. `score_end`: the end token is part of the score.
    `special_tokens`: the tokenizer's own are added to the prompt (for a decoder those before it only, Llama's `<s>`). `max_prompt_tokens`: longer prompts lose their end
    (None: refused beyond the model's context). `joined`: a decoder's prompt and text are tokenized as one string and
    cut where the prompt's own tokens end. `empty_prompt_is_end`: a decoder that has no prompt reads the end token instead.
    """

    leading_space: bool = False
    score_end: bool = False
    special_tokens: bool = True
    max_prompt_tokens: int | None = None
    joined: bool = False
    empty_prompt_is_end: bool = False


@dataclass(frozen=True)
class ToScore:
    """A text to be scored after a prompt; an empty prompt means the text alone."""

    prompt: str
    text: str


@dataclass(frozen=True)
class TokenScores:
    """The tokens of a text and their log-probabilities in nats (None: nothing came before that token)."""

    tokens: tuple[str, ...]
    logprobs: tuple[float | None, ...]
    truncated: bool = False


@dataclass(frozen=True)
class Effort:
    """How scores are computed, which moves them by no more than rounding.

    `batch_tokens`: at most so many tokens in a batch (None: what suits the device). `exact`: one sequence at a time on
    one thread, nothing shared, so that a machine with the same versions gives the same bits at every call.
    """

    batch_tokens: int | None = None
    exact: bool = False


@dataclass(frozen=True)
class ToRead:
    """Texts whose hidden states are wanted: which stack, and how tokens become one vector."""

    side: Side
    pooling: Pooling
