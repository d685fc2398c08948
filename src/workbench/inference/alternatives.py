"""What else could have come at each step of an answer: the likeliest tokens in each place, cached in the store."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

from workbench.inference import cached
from workbench.inference.cached import RequestType
from workbench.models import Model, expect_model
from workbench.models.arguments import text, whole
from workbench.models.engines import WatchedEngine
from workbench.models.requests import TokenAlternatives, ToScore
from workbench.store import validation


@dataclass(frozen=True)
class Step:
    """One token of an answer: the text that it adds, its log-probability in nats, and the likeliest tokens in its place.

    `text` is empty for a token inside a character; `logprob` is None, and `top` empty, if nothing precedes the token. `top` has
    texts with log-probabilities, best first; a part of a character is shown by its bytes, "⟨e4 b8⟩".
    """

    text: str
    logprob: float | None
    top: tuple[tuple[str, float], ...]

    @property
    def rank(self) -> int | None:
        """The token's place among the likeliest, from 1; None if it is not among them."""
        if self.logprob is None:
            return None
        better = sum(value > self.logprob for _, value in self.top)
        return better + 1 if better < len(self.top) else None


@dataclass(frozen=True)
class Alternatives:
    """The steps of an answer, one for each token and the last for the end token after it."""

    prompt: str
    answer: str
    steps: tuple[Step, ...]

    @property
    def characters(self) -> tuple[tuple[Step, ...], ...]:
        """The steps in groups that make whole characters; mostly of one token."""
        ends = [number for number, step in enumerate(self.steps, start=1) if step.text]
        return tuple(self.steps[start:end] for start, end in pairwise([0, *ends]))

    @property
    def logprob(self) -> float:
        """Log-probability of the answer with its end, in nats."""
        return sum(step.logprob for step in self.steps if step.logprob is not None)


def alternatives(model: Model, prompt: str, answer: str, k: int = 5) -> Alternatives:
    """Return the `k` likeliest tokens at each step of an answer, and how likely the answer's own tokens are.

    The answer is scored exactly as written after the prompt (for BLOOM, begin it with a space where one belongs; the text of a
    `Generation` has it). It is tokenized as a text, which for a generated answer is nearly always as it was generated. The last
    step is that of the end token. An empty answer has that step alone: what the model begins with.

    Args:
        prompt: If it is empty, a decoder-only model scores the answer as a text of its own, whose first token has no alternatives,
            and an encoder–decoder reads nothing but the end token.

    Raises:
        BadInput: not a text, an engine that does not compute alternatives, a prompt or answer beyond the context, k below 1, or
            logits that are not finite.
        NotReachable, StoreFailed: as for `generate`.
    """
    expect_model(model)
    request = ToScore(text("prompt", prompt, empty=True), text("answer", answer, empty=True))
    top = whole("k", k)

    def compute(missing: list[ToScore]) -> Iterator[tuple[list[int], list[TokenAlternatives]]]:
        return cast(WatchedEngine, model.engine).read_alternatives(missing, top)

    kind = RequestType(
        capability="alternatives",
        settings={"top": top},
        expect=validation.alternatives,
        encode=lambda found: {**vars(found)},
        decode=lambda value: TokenAlternatives(**value),
        compute=compute,
    )
    (found,) = cached.answer(model, kind, [request], progress=False).values
    steps = [
        Step(piece, logprob, tuple((name, value) for name, value in likely))
        for piece, logprob, likely in zip(found.texts, found.logprobs, found.top, strict=True)
    ]
    return Alternatives(prompt, answer, tuple(steps))
