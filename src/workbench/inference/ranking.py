"""Which of several choices a model finds likeliest, and how likely every token of a text is.

Scores are log-probabilities in nats. What "the score of a choice" means is a *protocol*: who owns the space before the
choice, whether the end token counts, special tokens on the prompt, truncation, normalisation (`protocols`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd

from workbench.errors import BadInput
from workbench.inference.cached import Kind, ask
from workbench.inference.protocols import Protocol, protocol_for
from workbench.models import Model, expect_model
from workbench.models.arguments import as_list, flag, text, whole
from workbench.models.arguments import texts as read_texts
from workbench.models.requests import Effort, ScoringRule, TokenScores, ToScore
from workbench.run_log import note
from workbench.tasks import Item

_AUDITED_AT_MOST = 8
_AUDITS: dict[tuple[str, str, str], dict[str, Any]] = {}  # of this process, by weights, dtype and protocol


def rank(
    model: Model,
    items: Iterable[Item],
    *,
    protocol: str | None = None,
    exact: bool = False,
    batch_tokens: int | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Score every choice of every item and predict the likeliest.

    Under `xmtf` the score is the sum over the choice's tokens, not normalised: on the BLOOM side of " " + choice
    without the end token, on the mT5 side of the choice with it; no special tokens on the prompt; prompts cut after
    2048 / 512 tokens (counted in the column `truncated`). The others cut nothing: `per-token` is the mean; `pmi` takes off the
    score of the choice alone (after the end token, which stood between the documents BLOOM read; with only the end token in
    mT5's encoder); `lm-eval` scores as lm-evaluation-harness 0.4 does, for comparison only. Where a decoder's tokenizer puts a
    special token before a prompt (Llama's `<s>`; BLOOM's puts none), all but `xmtf` read it, as `generate` and `score` do.

    The prediction is the likeliest choice; of choices with equal scores the first, as the published evaluation has it.

    What is computed anew is checked on a small sample, each item in a batch of its own: `table.attrs["audit"]` and the run's
    manifest hold the number of items, the largest difference of a score in nats, and the items whose prediction would flip.

    Args:
        exact: one sequence at a time on one thread, nothing shared: slow, the same bits at every call on one machine
            with the same versions, and kept apart in the store.
        batch_tokens: at most so many tokens are computed at a time, which bounds the memory; None: 1,024 on a CPU, 16,384
            on a GPU, or what the largest prompt needs. Halved when memory runs out.

    Returns:
        One row per item, in order: id, task, template, language, cluster, prompt, choices, gold, prediction, correct,
        margin (best minus second best, nats), tie (margin below the model's tolerance), scores (nats, one per
        choice), tokens (scored per choice), truncated, protocol, model.

    Raises:
        BadInput: an item with fewer than two choices, an empty choice or prompt, a gold that is no choice, a choice or (other
            protocols than xmtf) a prompt beyond the context, batch_tokens too small for a prompt with one choice, or weights
            that give no finite numbers.
        NotReachable, StoreFailed: as for `generate`.
    """
    expect_model(model)
    chosen = protocol_for(model, protocol)
    items = [_checked(item) for item in as_list("items", items, of="Item")]
    model.check_prompts([item.prompt for item in items])
    requests = [ToScore(item.prompt, choice) for item in items for choice in item.choices]
    alone = [ToScore("", request.text) for request in requests] if chosen.normalisation == "pmi" else []
    effort = _effort(batch_tokens, exact)
    answers, fresh = _ask_scores(model, [*requests, *alone], chosen.rule, effort, progress)
    scores = _choice_scores(chosen, answers[: len(requests)], answers[len(requests) :])
    groups = _groups(items)
    near = model.tolerance
    rows = [
        _row(item, scores[group], answers[group], near) for item, group in zip(items, groups, strict=True)
    ]
    table = pd.DataFrame(rows, columns=_COLUMNS).assign(protocol=chosen.name, model=model.name)
    if not exact:
        computed = [place for place, group in enumerate(groups) if all(fresh[group])]
        table.attrs["audit"] = _audit(model, items, table, computed, chosen)
    return table


def score(
    model: Model,
    texts: Iterable[str],
    *,
    prompts: Iterable[str] | None = None,
    exact: bool = False,
    batch_tokens: int | None = None,
    progress: bool = True,
) -> list[TokenScores]:
    """Give the log-probability of every token of each text, in nats.

    With `prompts`, each text is scored exactly as written after its prompt (begin it with a space on the BLOOM side where
    one belongs). Without, a decoder-only model scores the text alone and its first token has None, unless its tokenizer puts
    a special token before (Llama's `<s>`); an encoder-decoder
    forces the text through its decoder while the encoder reads only the end token: comparable between texts, but not what
    the model was trained for. The end token is not scored. `exact` and `batch_tokens` are as for `rank`.

    Raises:
        BadInput: an empty text, as many prompts as texts not given, a text beyond the context, or batch_tokens too small.
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
    return _ask_scores(model, requests, rule, _effort(batch_tokens, exact), progress)[0]


_COLUMNS = [
    "id", "task", "template", "language", "cluster", "prompt", "choices", "gold", "prediction", "correct", "margin", "tie",
    "scores", "tokens", "truncated",
]  # fmt: skip


def _effort(batch_tokens: int | None, exact: bool) -> Effort:
    tokens = None if batch_tokens is None else whole("batch_tokens", batch_tokens)
    return Effort(tokens, flag("exact", exact))


def _ask_scores(
    model: Model, requests: list[ToScore], rule: ScoringRule, effort: Effort, progress: bool
) -> tuple[list[TokenScores], list[bool]]:
    settings = asdict(rule)
    if effort.exact:  # its bits are promised for these versions only
        settings["exact"] = {name: version(name) for name in ("torch", "transformers")}
    kind = Kind(
        name="score",
        settings=settings,
        encode=vars,
        decode=_decode,
        compute=lambda missing: model.engine.score(missing, rule, effort),
        may_be_wide=not effort.exact,
    )
    return ask(model, kind, requests, batch=effort.batch_tokens or 0, progress=progress)


def _decode(value: dict[str, list[str] | list[float | None] | bool]) -> TokenScores:
    return TokenScores(tuple(value["tokens"]), tuple(value["logprobs"]), bool(value["truncated"]))  # type: ignore[arg-type]


def _groups(items: Sequence[Item]) -> list[slice]:
    """Where each item's choices stand in the list of all choices."""
    ends = np.cumsum([len(item.choices) for item in items]).tolist()
    return [slice(end - len(item.choices), end) for item, end in zip(items, ends, strict=True)]


def _choice_scores(
    protocol: Protocol, answers: Sequence[TokenScores], alone: Sequence[TokenScores]
) -> list[float]:
    """The score of each choice, in nats, from its tokens' log-probabilities (and, for pmi, those without the prompt)."""
    sums = [_sum(answer) for answer in answers]
    if protocol.normalisation == "mean":
        return [total / len(answer.tokens) for total, answer in zip(sums, answers, strict=True)]
    if protocol.normalisation == "pmi":
        return [total - _sum(answer) for total, answer in zip(sums, alone, strict=True)]
    return sums


def _sum(answer: TokenScores) -> float:
    return sum(logprob for logprob in answer.logprobs if logprob is not None)


def _row(item: Item, scores: list[float], answers: Sequence[TokenScores], near: float) -> list[object]:
    best = int(np.argmax(scores))
    margin = scores[best] - max(s for i, s in enumerate(scores) if i != best)
    correct = None if item.gold is None else best == item.gold
    return [
        item.id, item.task, item.template, item.language, item.cluster, item.prompt, list(item.choices), item.gold, best,
        correct, margin, margin < near, scores, [len(answer.tokens) for answer in answers],
        any(answer.truncated for answer in answers),
    ]  # fmt: skip


def _audit(
    model: Model, items: Sequence[Item], table: pd.DataFrame, computed: Sequence[int], protocol: Protocol
) -> dict[str, Any]:
    """Score one in a hundred of the computed items again, each alone; note what differs, over all calls of this process."""
    size = min(_AUDITED_AT_MOST, -(-len(computed) // 100))
    sample = [computed[place * len(computed) // size] for place in range(size)]
    differences, flips = [0.0], []
    for place in sample:
        item, stored = items[place], table["scores"][place]
        requests = [ToScore(item.prompt, choice) for choice in item.choices]
        alone = [ToScore("", choice) for choice in item.choices] if protocol.normalisation == "pmi" else []
        found = _compute(model, [*requests, *alone], protocol.rule)
        again = _choice_scores(protocol, found[: len(requests)], found[len(requests) :])
        differences += [abs(a - b) for a, b in zip(again, stored, strict=True)]
        if int(np.argmax(again)) != table["prediction"][place]:
            flips.append(item.id)
    audit = {"items": size, "largest_difference": max(differences), "flips": flips}
    if size:
        model.audits[protocol.name] = _added(model.audits.get(protocol.name), audit)
        key = (model.identity.weights, model.dtype, protocol.name)
        _AUDITS[key] = _added(_AUDITS.get(key), audit)
        note(audits={model.identity.name: {f"{protocol.name} {model.dtype}": _AUDITS[key]}})
    return audit


def _added(known: dict[str, Any] | None, new: dict[str, Any]) -> dict[str, Any]:
    """What two audits found together."""
    if known is None:
        return new
    return {
        "items": known["items"] + new["items"],
        "largest_difference": max(known["largest_difference"], new["largest_difference"]),
        "flips": [*known["flips"], *new["flips"]],
    }


def _compute(model: Model, requests: Sequence[ToScore], rule: ScoringRule) -> list[TokenScores]:
    """Ask the engine and not the store."""
    found: dict[int, TokenScores] = {}
    with model.at_work() as engine:
        for positions, answers in engine.score(requests, rule, Effort()):
            found |= dict(zip(positions, answers, strict=True))
    return [found[position] for position in range(len(requests))]


def _checked(item: Item) -> Item:
    """The item with its choices as a tuple and its gold as a plain number."""
    if not isinstance(item, Item):
        raise BadInput(
            f"{item!r} is no Item; `from workbench import Item` and give Item(id, prompt, choices)"
        )
    name = f"item {item.id!r}"
    prompt = text(f"{name}: prompt", item.prompt)
    choices = read_texts(f"{name}: choices", item.choices, one=f"{name}: choice")
    if len(choices) < 2:
        raise BadInput(f"{name} has {len(choices)} choice(s); ranking needs at least two")
    gold = item.gold if item.gold is None else whole(f"{name}: gold", item.gold, least=0)
    if gold is not None and gold >= len(choices):
        raise BadInput(f"{name} has gold {gold}; its choices are 0 to {len(choices) - 1}")
    return replace(item, prompt=prompt, choices=tuple(choices), gold=gold)
