"""The definition of a score: log-probabilities of a text's tokens after a prompt, in nats, combined into one number per choice.

A `Protocol` defines the score of a choice by a `ScoringRule`, which determines what is tokenized and which tokens count, and
by a normalisation. `xmtf` is the protocol of the published results; it differs between BLOOM and mT5 (arXiv 2211.01786;
t-zero fork, commit 3f1086c). `rank` compares such scores; an engine computes the log-probabilities.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import Literal

from workbench.errors import BadInput, UnknownName
from workbench.inference import cached
from workbench.inference.cached import Answers, RequestType
from workbench.models import Model, expect_model
from workbench.models.arguments import flag, whole
from workbench.models.arguments import texts as read_texts
from workbench.models.requests import ComputeOptions, ScoringRule, TokenScores, ToScore
from workbench.store import validation


@dataclass(frozen=True)
class Protocol:
    """A named way to score choices: a tokenization rule and a normalisation of the log-probabilities.

    `sum` adds them; `mean` divides the sum by the number of tokens; `pmi` subtracts the score of the choice without the prompt.
    """

    name: str
    rule: ScoringRule
    normalisation: Literal["sum", "mean", "pmi"] = "sum"

    def requests(self, prompts_and_choices: Iterable[tuple[str, str]]) -> list[ToScore]:
        """Return a request for each pair, in order; for pmi, followed by one for each choice without its prompt."""
        requests = [ToScore(prompt, choice) for prompt, choice in prompts_and_choices]
        alone = [ToScore("", request.text) for request in requests] if self.normalisation == "pmi" else []
        return [*requests, *alone]

    def scores(self, answers: Sequence[TokenScores]) -> list[float]:
        """Return the score of each choice in nats, from the answers to `requests`."""
        sums = [sum(logprob for logprob in answer.logprobs if logprob is not None) for answer in answers]
        if self.normalisation == "mean":
            return [total / len(answer.tokens) for total, answer in zip(sums, answers, strict=True)]
        if self.normalisation == "pmi":
            half = len(sums) // 2
            return [total - alone for total, alone in zip(sums[:half], sums[half:], strict=True)]
        return sums


_BLOOM = ScoringRule(leading_space=True, score_end=False, special_tokens=False, max_prompt_tokens=2048)
_MT5 = ScoringRule(leading_space=False, score_end=True, special_tokens=False, max_prompt_tokens=512)
_WHOLE_BLOOM = replace(_BLOOM, max_prompt_tokens=None, special_tokens=True)  # BLOOM's tokenizer has none
_WHOLE_MT5 = replace(_MT5, max_prompt_tokens=None)
_LM_EVAL = ScoringRule(leading_space=True, joined=True)
PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("xmtf-bloom", _BLOOM),
        Protocol("xmtf-mt5", _MT5),
        Protocol("per-token-bloom", _WHOLE_BLOOM, "mean"),
        Protocol("per-token-mt5", _WHOLE_MT5, "mean"),
        Protocol("pmi-bloom", replace(_WHOLE_BLOOM, empty_prompt_is_end=True), "pmi"),
        Protocol("pmi-mt5", _WHOLE_MT5, "pmi"),
        Protocol("lm-eval-bloom", _LM_EVAL),
        Protocol("lm-eval-mt5", _LM_EVAL),
    )
}
_SHORT = ("xmtf", "per-token", "pmi", "lm-eval")


def protocol_for(model: Model, name: str | None) -> Protocol:
    """Return the protocol of a name: "xmtf", "per-token", "pmi" and "lm-eval" select the model's variant; None is "xmtf".

    Raises:
        UnknownName: no such protocol, or a short name for a model other than BLOOM and mT5, which needs the full name.
    """
    wanted = name or "xmtf"
    if not isinstance(wanted, str):
        raise UnknownName(f"protocol={name!r}; choose one of: {', '.join(_SHORT)}, {', '.join(PROTOCOLS)}")
    if wanted in PROTOCOLS:
        return PROTOCOLS[wanted]
    full = f"{wanted}-{model.architecture}"
    if full in PROTOCOLS:
        return PROTOCOLS[full]
    if f"{wanted}-bloom" in PROTOCOLS:
        raise UnknownName(
            f"{model.name} is a {model.architecture}, for which {wanted!r} is not defined; "
            f"name {wanted}-bloom or {wanted}-mt5"
        )
    raise UnknownName(
        f"no protocol called {wanted!r}; choose one of: {', '.join(_SHORT)}, {', '.join(PROTOCOLS)}"
    )


def score(
    model: Model,
    texts: Iterable[str],
    *,
    prompts: Iterable[str] | None = None,
    exact: bool = False,
    batch_tokens: int | None = None,
    progress: bool = True,
) -> list[TokenScores]:
    """Return the log-probability of every token of each text, in nats.

    With `prompts`, each text is scored exactly as written after its prompt (for BLOOM, begin it with a space where one
    belongs). Without prompts, a decoder-only model scores the text alone, and its first token gets None unless the tokenizer
    puts a special token before it (Llama's `<s>`); an encoder-decoder scores the text in its decoder while the encoder reads
    only the end token, which makes texts comparable but is not what the model was trained for. The end token is not scored.
    `exact` and `batch_tokens` are as for `rank`.

    Raises:
        BadInput: an empty text, different numbers of prompts and texts, a prompt or text beyond the context, batch_tokens too
            small, or scores that are not finite.
        NotReachable, StoreFailed: as for `generate`.
    """
    expect_model(model)
    asked = read_texts("texts", texts, one="text", empty=True)
    after = [""] * len(asked) if prompts is None else read_texts("prompts", prompts, one="prompt", empty=True)
    if len(after) != len(asked):
        raise BadInput(
            f"{len(asked)} texts came with {len(after)} prompts; give one prompt per text, or none"
        )
    if "" in asked:
        raise BadInput(f"text {asked.index('')} is empty and has no tokens to score; give some text")
    requests = [ToScore(prompt, text) for prompt, text in zip(after, asked, strict=True)]
    rule = ScoringRule(special_tokens=prompts is not None or not model.is_encoder_decoder)
    return token_scores(model, requests, rule, compute_options(batch_tokens, exact), progress).values


def token_scores(
    model: Model, requests: list[ToScore], rule: ScoringRule, options: ComputeOptions, progress: bool
) -> Answers:
    """Return the log-probability of every token of each request, from the store or else from the model's engine."""
    settings = asdict(rule)
    if options.exact:  # identical bits are guaranteed for these versions only
        settings["exact"] = {name: version(name) for name in ("torch", "transformers")}
    kind = RequestType(
        capability="score",
        settings=settings,
        expect=validation.scores,
        encode=lambda found: {**vars(found), "tokens": list(found.tokens), "logprobs": list(found.logprobs)},
        decode=_decode,
        compute=lambda missing: model.engine.score(missing, rule, options),
        may_use_float32=not options.exact,
    )
    return cached.answer(model, kind, requests, batch=options.batch_tokens or 0, progress=progress)


def compute_options(batch_tokens: int | None, exact: bool) -> ComputeOptions:
    """Return how to compute, from the arguments of `rank` and `score`."""
    tokens = None if batch_tokens is None else whole("batch_tokens", batch_tokens)
    return ComputeOptions(tokens, flag("exact", exact))


def _decode(value: dict[str, list[str] | list[float | None] | bool]) -> TokenScores:
    return TokenScores(tuple(value["tokens"]), tuple(value["logprobs"]), bool(value["truncated"]))  # type: ignore[arg-type]
