"""Which of several choices a model finds likeliest, and how likely every token of a text is.

Scores are log-probabilities in nats. What "the score of a choice" means is a *protocol*: who owns the space before the
choice, whether the end token counts, special tokens on the prompt, truncation, normalisation. `xmtf` is the one behind
the published numbers, and it differs between the BLOOM and the mT5 side (arXiv 2211.01786; t-zero fork, commit 3f1086c).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from workbench.asking import Kind, ask
from workbench.errors import BadInput, UnknownName
from workbench.models import Model, expect_model
from workbench.models.requests import ScoringRule, TokenScores, ToScore
from workbench.tasks import Item


@dataclass(frozen=True)
class Protocol:
    """A named way to score choices: a rule for tokens, and what is done with their log-probabilities."""

    name: str
    rule: ScoringRule
    normalisation: Literal["sum", "mean"] = "sum"


_BLOOM = ScoringRule(leading_space=True, score_end=False, special_tokens=False, max_prompt_tokens=2048)
_MT5 = ScoringRule(leading_space=False, score_end=True, special_tokens=False, max_prompt_tokens=512)
PROTOCOLS = {
    "xmtf-bloom": Protocol("xmtf-bloom", _BLOOM),
    "xmtf-mt5": Protocol("xmtf-mt5", _MT5),
    "per-token-bloom": Protocol("per-token-bloom", replace(_BLOOM, max_prompt_tokens=None), "mean"),
    "per-token-mt5": Protocol("per-token-mt5", replace(_MT5, max_prompt_tokens=None), "mean"),
}
_NEAR = {"float32": 1e-4, "bfloat16": 0.05, "float16": 0.01}  # nats within which a batch may change a score


def protocol_for(model: Model, name: str | None) -> Protocol:
    """Find the protocol: "xmtf" and "per-token" mean the model's own side; None is "xmtf".

    Raises:
        UnknownName: no such protocol, or a model outside BLOOM and mT5 that must name its side in full.
    """
    wanted = name or "xmtf"
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
        f"no protocol called {wanted!r}; choose one of: xmtf, per-token, {', '.join(PROTOCOLS)}"
    )


def rank(
    model: Model,
    items: Sequence[Item],
    *,
    protocol: str | None = None,
    batch_size: int = 16,
    progress: bool = True,
) -> pd.DataFrame:
    """Score every choice of every item and predict the likeliest.

    Under `xmtf` the score is the sum over the choice's tokens, not normalised: on the BLOOM side of " " + choice
    without the end token, on the mT5 side of the choice with it; no special tokens on the prompt; prompts cut after
    2048 / 512 tokens (counted in the column `truncated`). Under `per-token` it is the mean, and nothing is cut.

    Returns:
        One row per item, in order: id, task, template, language, cluster, prompt, choices, gold, prediction, correct,
        margin (best minus second best, nats), tie (margin within what a batch may change), scores (nats, one per
        choice), tokens (scored per choice), truncated, protocol, model.

    Raises:
        BadInput: an item with fewer than two choices, an empty choice or prompt, a gold that is no choice, or (other
            protocols than xmtf) a prompt beyond the context.
        NotReachable, StoreFailed: as for `generate`.
    """
    expect_model(model)
    chosen = protocol_for(model, protocol)
    for item in items:
        _check(item)
    model.warn_of_strange_words([item.prompt for item in items])
    requests = [ToScore(item.prompt, choice) for item in items for choice in item.choices]
    answers = iter(_ask_scores(model, requests, chosen.rule, batch_size, progress))
    near = _NEAR[model.dtype]
    rows = [_row(item, [next(answers) for _ in item.choices], chosen, near) for item in items]
    table = pd.DataFrame(rows, columns=_COLUMNS)
    return table.assign(protocol=chosen.name, model=model.name)


def score(
    model: Model,
    texts: Sequence[str],
    *,
    prompts: Sequence[str] | None = None,
    batch_size: int = 16,
    progress: bool = True,
) -> list[TokenScores]:
    """Give the log-probability of every token of each text, in nats.

    With `prompts`, each text is scored exactly as written after its prompt (begin it with a space on the BLOOM side where
    one belongs). Without, a decoder-only model scores the text alone and its first token has None; an encoder-decoder
    forces the text through its decoder while the encoder reads only the end token: comparable between texts, but not what
    the model was trained for. The end token is not scored.

    Raises:
        BadInput: an empty text, as many prompts as texts not given, or a text beyond the context.
    """
    expect_model(model)
    if prompts is not None and len(prompts) != len(texts):
        raise BadInput(
            f"{len(texts)} texts came with {len(prompts)} prompts; give one prompt per text, or none"
        )
    requests = [
        ToScore(prompt, text) for prompt, text in zip(prompts or [""] * len(texts), texts, strict=True)
    ]
    if isinstance(texts, str):
        raise BadInput("texts is one string; give a list of texts")
    for request in requests:
        if not request.text:
            raise BadInput("an empty text has no tokens to score")
    rule = ScoringRule(special_tokens=model.is_encoder_decoder and prompts is not None)
    return _ask_scores(model, requests, rule, batch_size, progress)


_COLUMNS = [
    "id", "task", "template", "language", "cluster", "prompt", "choices", "gold", "prediction", "correct", "margin", "tie",
    "scores", "tokens", "truncated",
]  # fmt: skip


def _ask_scores(
    model: Model, requests: list[ToScore], rule: ScoringRule, batch_size: int, progress: bool
) -> list[TokenScores]:
    kind = Kind(
        name="score",
        settings=asdict(rule),
        encode=asdict,
        decode=_decode,
        compute=lambda missing: model.engine.score(missing, rule, batch_size),
    )
    return ask(model, kind, requests, batch_size=batch_size, progress=progress)


def _decode(value: dict[str, list[str] | list[float | None] | bool]) -> TokenScores:
    return TokenScores(tuple(value["tokens"]), tuple(value["logprobs"]), bool(value["truncated"]))  # type: ignore[arg-type]


def _row(item: Item, answers: list[TokenScores], protocol: Protocol, near: float) -> list[object]:
    sums = [sum(logprob for logprob in answer.logprobs if logprob is not None) for answer in answers]
    counts = [len(answer.tokens) for answer in answers]
    scores = sums if protocol.normalisation == "sum" else [s / n for s, n in zip(sums, counts, strict=True)]
    best = int(np.argmax(scores))
    margin = scores[best] - max(s for i, s in enumerate(scores) if i != best)
    correct = None if item.gold is None else best == item.gold
    return [
        item.id, item.task, item.template, item.language, item.cluster, item.prompt, list(item.choices), item.gold, best,
        correct, margin, margin < near, scores, counts, any(answer.truncated for answer in answers),
    ]  # fmt: skip


def _check(item: Item) -> None:
    if not isinstance(item, Item):
        raise BadInput(
            f"{item!r} is no Item; `from workbench import Item` and give Item(id, prompt, choices)"
        )
    if not isinstance(item.choices, tuple | list):
        raise BadInput(f"item {item.id!r} has {item.choices!r} as choices; give a tuple of choices")
    if not item.prompt.strip():
        raise BadInput(f"item {item.id!r} has an empty prompt")
    if len(item.choices) < 2:
        raise BadInput(f"item {item.id!r} has {len(item.choices)} choice(s); ranking needs at least two")
    if not all(choice.strip() for choice in item.choices):
        raise BadInput(f"item {item.id!r} has an empty choice: {item.choices!r}")
    if item.gold is not None and not 0 <= item.gold < len(item.choices):
        raise BadInput(f"item {item.id!r} has gold {item.gold}; its choices are 0 to {len(item.choices) - 1}")
