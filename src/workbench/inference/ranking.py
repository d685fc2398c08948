"""Rank choices by their likelihood under a model; the score of a choice is defined by a protocol (`workbench.inference.scoring`)."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from workbench.errors import BadInput
from workbench.inference.scoring import Protocol, compute_options, protocol_for, token_scores
from workbench.models import Model, expect_model
from workbench.models.arguments import as_list, shown, text, whole
from workbench.models.arguments import texts as read_texts
from workbench.models.requests import ComputeOptions, ScoringRule, TokenScores, ToScore
from workbench.models.tally import Audit
from workbench.run_log import note, noted
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

    If the best choices have equal scores, the first of them is predicted, as in the published evaluation.

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
    options = compute_options(batch_tokens, exact)
    found = token_scores(model, chosen.requests(_pairs(items)), chosen.rule, options, progress)
    scores, groups, near = chosen.scores(found.values), _groups(items), model.tolerance
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


_COLUMNS = [
    "id", "task", "template", "language", "cluster", "prompt", "choices", "gold", "prediction", "correct", "margin", "tie",
    "scores", "tokens", "truncated",
]  # fmt: skip


def _pairs(items: Sequence[Item]) -> list[tuple[str, str]]:
    return [(item.prompt, choice) for item in items for choice in item.choices]


def _groups(items: Sequence[Item]) -> list[slice]:
    """Return the slice of each item's choices in the list of all choices."""
    ends = np.cumsum([len(item.choices) for item in items]).tolist()
    return [slice(end - len(item.choices), end) for item, end in zip(items, ends, strict=True)]


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
        again = protocol.scores(_compute(model, protocol.requests(_pairs([item])), protocol.rule))
        differences += [abs(a - b) for a, b in zip(again, table["scores"][place], strict=True)]
        if int(np.argmax(again)) != table["prediction"][place]:
            flips.append(item.id)
    return Audit(size, max(differences), tuple(flips))


def _record(model: Model, protocol: Protocol, audit: Audit) -> None:
    """Add an audit to the handle's, and to the one in the run's manifest, which covers all handles of the model."""
    model.audits[protocol.name] = model.audits.get(protocol.name, Audit()) + audit
    name, label = model.identity.name, f"{protocol.name} {model.precision}"
    known = noted().get("audits", {}).get(name, {}).get(label)
    total = Audit(**known) + audit if known else audit
    note(audits={name: {label: total.facts()}})


def _compute(model: Model, requests: Sequence[ToScore], rule: ScoringRule) -> list[TokenScores]:
    """Score requests with the engine, bypassing the store."""
    found: dict[int, TokenScores] = {}
    with model.computing() as engine:
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
