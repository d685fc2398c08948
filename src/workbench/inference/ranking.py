"""Rank choices by their likelihood under a model, and score every token of a text.

Scores are log-probabilities in nats. A *protocol* (see `protocols`) defines the score of a choice: whether the space before
it is part of it, whether the end token counts, which special tokens the prompt gets, truncation, and normalisation.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version

import numpy as np
import pandas as pd

from workbench.errors import BadInput
from workbench.inference import cached
from workbench.inference.cached import Answers, RequestType
from workbench.inference.protocols import Protocol, protocol_for
from workbench.models import Model, expect_model
from workbench.models.arguments import as_list, flag, shown, text, whole
from workbench.models.arguments import texts as read_texts
from workbench.models.requests import ComputeOptions, ScoringRule, TokenScores, ToScore
from workbench.models.tally import Audit
from workbench.run_log import note, noted
from workbench.store import forms
from workbench.tasks import Item

_AUDITED_AT_MOST = 8


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

    Under `xmtf` the score is the sum over the choice's tokens, not normalised: for BLOOM of " " + choice without the end token,
    for mT5 of the choice with it; the prompt gets no special tokens and is truncated to 2048 / 512 tokens, or to the model's
    context if that is shorter (flagged in the column `truncated`). The other protocols do not truncate: `per-token` is the mean;
    `pmi` subtracts the score of the choice alone (after the end token, which separated documents in BLOOM's training; with only
    the end token in mT5's encoder); `lm-eval` scores as lm-evaluation-harness 0.4 does, for comparison only. If a decoder's
    tokenizer puts a special token before a prompt (Llama's `<s>`; BLOOM's has none), the `-bloom` variants of all protocols but
    `xmtf` include it, as `generate` and `score` do.

    Of choices with equal scores the first is predicted, as in the published evaluation.

    Unless `exact` is set, a small sample of the newly computed items is scored again, each in its own batch: the run's manifest
    and `table.attrs["audit"]` hold their number, the largest difference between scores in nats, and the items whose prediction
    would change.

    Args:
        exact: score one sequence at a time on one thread, sharing no computation: slow, but with identical bits at every call on
            one machine with the same library versions; stored separately.
        batch_tokens: maximum tokens computed at a time, which bounds memory; None: 1,024 (with CUDA 16,384), or more if the
            largest prompt needs it. Halved when memory runs out.

    Returns:
        One row per item, in order: id, task, template, language, cluster, prompt, choices, gold, prediction, correct,
        margin (best minus second best, nats), tie (margin below the model's tolerance), scores (nats, one per
        choice), tokens (number scored, per choice), truncated, protocol, model.

    Raises:
        BadInput: an item with fewer than two choices, an empty choice or prompt, a gold index out of range, a choice or (other
            protocols than xmtf) a prompt beyond the context, batch_tokens too small for a prompt with one choice, or scores
            that are not finite.
        NotReachable, StoreFailed: as for `generate`.
    """
    expect_model(model)
    chosen = protocol_for(model, protocol)
    items = [_checked(item) for item in as_list("items", items, of="Item")]
    model.check_prompts([item.prompt for item in items])
    options = _options(batch_tokens, exact)
    found = _token_scores(model, _requests(items, chosen), chosen.rule, options, progress)
    scores, groups, near = _choice_scores(found.values, chosen), _groups(items), model.tolerance
    rows = [
        _row(item, scores[group], found.values[group], near)
        for item, group in zip(items, groups, strict=True)
    ]
    table = pd.DataFrame(rows, columns=_COLUMNS).assign(protocol=chosen.name, model=model.name)
    if not exact:
        computed = [place for place, group in enumerate(groups) if all(found.is_new[group])]
        audit = _audit(model, items, table, computed, chosen)
        table.attrs["audit"] = audit.facts()
        if computed:
            _record(model, chosen, audit)
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
    """Return the log-probability of every token of each text, in nats.

    With `prompts`, each text is scored exactly as written after its prompt (for BLOOM, begin it with a space where one belongs).
    Without, a decoder-only model scores the text alone, and its first token gets None unless the tokenizer puts a special token
    before it (Llama's `<s>`); an encoder-decoder scores the text in its decoder while the encoder reads only the end token, which
    makes texts comparable but is not what the model was trained for. The end token is not scored. `exact` and `batch_tokens` are
    as for `rank`.

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
    return _token_scores(model, requests, rule, _options(batch_tokens, exact), progress).values


_COLUMNS = [
    "id", "task", "template", "language", "cluster", "prompt", "choices", "gold", "prediction", "correct", "margin", "tie",
    "scores", "tokens", "truncated",
]  # fmt: skip


def _options(batch_tokens: int | None, exact: bool) -> ComputeOptions:
    tokens = None if batch_tokens is None else whole("batch_tokens", batch_tokens)
    return ComputeOptions(tokens, flag("exact", exact))


def _token_scores(
    model: Model, requests: list[ToScore], rule: ScoringRule, options: ComputeOptions, progress: bool
) -> Answers:
    settings = asdict(rule)
    if options.exact:  # identical bits are guaranteed for these versions only
        settings["exact"] = {name: version(name) for name in ("torch", "transformers")}
    kind = RequestType(
        capability="score",
        settings=settings,
        expect=forms.scores,
        encode=vars,
        decode=_decode,
        compute=lambda missing: model.engine.score(missing, rule, options),
        may_be_wide=not options.exact,
    )
    return cached.answer(model, kind, requests, batch=options.batch_tokens or 0, progress=progress)


def _decode(value: dict[str, list[str] | list[float | None] | bool]) -> TokenScores:
    return TokenScores(tuple(value["tokens"]), tuple(value["logprobs"]), bool(value["truncated"]))  # type: ignore[arg-type]


def _groups(items: Sequence[Item]) -> list[slice]:
    """Return the slice of each item's choices in the list of all choices."""
    ends = np.cumsum([len(item.choices) for item in items]).tolist()
    return [slice(end - len(item.choices), end) for item, end in zip(items, ends, strict=True)]


def _requests(items: Sequence[Item], protocol: Protocol) -> list[ToScore]:
    """Return a request for each choice of each item, in order; for pmi, followed by one for each choice without prompt."""
    requests = [ToScore(item.prompt, choice) for item in items for choice in item.choices]
    alone = [ToScore("", request.text) for request in requests] if protocol.normalisation == "pmi" else []
    return [*requests, *alone]


def _choice_scores(answers: Sequence[TokenScores], protocol: Protocol) -> list[float]:
    """Return the score of each choice in nats, from the answers to `_requests`."""
    sums = [sum(logprob for logprob in answer.logprobs if logprob is not None) for answer in answers]
    if protocol.normalisation == "mean":
        return [total / len(answer.tokens) for total, answer in zip(sums, answers, strict=True)]
    if protocol.normalisation == "pmi":
        half = len(sums) // 2
        return [total - alone for total, alone in zip(sums[:half], sums[half:], strict=True)]
    return sums


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
) -> Audit:
    """Score one in a hundred of the new items again (at most 8), each in its own batch."""
    size = min(_AUDITED_AT_MOST, -(-len(computed) // 100))
    differences, flips = [0.0], []
    for place in (computed[number * len(computed) // size] for number in range(size)):
        item = items[place]
        again = _choice_scores(_compute(model, _requests([item], protocol), protocol.rule), protocol)
        differences += [abs(a - b) for a, b in zip(again, table["scores"][place], strict=True)]
        if int(np.argmax(again)) != table["prediction"][place]:
            flips.append(item.id)
    return Audit(size, max(differences), tuple(flips))


def _record(model: Model, protocol: Protocol, audit: Audit) -> None:
    """Add an audit to those of the handle, and to those of all handles of the model in the run's manifest."""
    model.audits[protocol.name] = model.audits.get(protocol.name, Audit()) + audit
    name, label = model.identity.name, f"{protocol.name} {model.dtype}"
    known = noted().get("audits", {}).get(name, {}).get(label)
    total = Audit(**known) + audit if known else audit
    note(audits={name: {label: total.facts()}})


def _compute(model: Model, requests: Sequence[ToScore], rule: ScoringRule) -> list[TokenScores]:
    """Score requests with the engine, bypassing the store."""
    found: dict[int, TokenScores] = {}
    with model.at_work() as engine:
        for positions, answers in engine.score(requests, rule, ComputeOptions()):
            found |= dict(zip(positions, answers, strict=True))
    return [found[position] for position in range(len(requests))]


def _checked(item: Item) -> Item:
    """Return the item with its choices as a tuple and its gold as an int."""
    if not isinstance(item, Item):
        raise BadInput(
            f"expected an Item(id, prompt, choices), got {shown(item)}; `from workbench import Item`"
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
