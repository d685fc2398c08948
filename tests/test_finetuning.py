"""Laws of the training loop, each with a twin that shows the check can fail."""

import math
import random
from dataclasses import replace

import pytest
import torch

from workbench.errors import BadInput
from workbench.finetuning import (
    IGNORED,
    Batch,
    Plan,
    corrupt,
    draw_spans,
    loss_of,
    next_token_batch,
    pairs_batch,
    train,
)
from workbench.mini.architectures import new_model

VOCABULARY = 40
PAIRS = [([5, 6, 7], [8, 3]), ([9, 10], [11, 12, 13, 3]), ([14], [15, 3])]


def tiny(architecture: str, seed: int = 0):
    torch.manual_seed(seed)
    return new_model(architecture, VOCABULARY).eval()


def batch_of(architecture: str, pairs=PAIRS) -> Batch:
    return pairs_batch(pairs, pad=3 if architecture == "bloom" else 0, encoder_decoder=architecture == "mt5")


@pytest.fixture(params=["bloom", "mt5"])
def architecture(request):
    return request.param


def test_the_first_loss_is_near_the_log_of_the_vocabulary(architecture):
    assert loss_of(tiny(architecture), batch_of(architecture)).item() == pytest.approx(
        math.log(VOCABULARY), abs=1.0
    )


def test_every_target_counts_the_same_whatever_its_length(architecture):
    model = tiny(architecture)
    together = loss_of(model, batch_of(architecture)).item()
    alone = [loss_of(model, batch_of(architecture, [pair])).item() for pair in PAIRS]
    assert together == pytest.approx(sum(alone) / len(alone), abs=1e-5)


def test_twin_a_loss_per_token_would_differ(architecture):
    model, batch = tiny(architecture), batch_of(architecture)
    per_token = replace(batch, weights=torch.full_like(batch.weights, 1 / (batch.labels != IGNORED).sum()))
    assert abs(loss_of(model, per_token).item() - loss_of(model, batch).item()) > 1e-4


def test_labels_on_the_prompt_side_change_nothing():
    batch = batch_of("bloom")
    prompt = torch.zeros_like(batch.labels, dtype=torch.bool)
    for number, (source, _) in enumerate(PAIRS):
        prompt[number, : len(source)] = True
    assert (batch.labels[prompt] == IGNORED).all()
    heavier = replace(batch, weights=batch.weights.masked_fill(prompt, 100.0))
    model = tiny("bloom")
    assert loss_of(model, heavier).item() == loss_of(model, batch).item()


def test_twin_labels_on_the_target_side_change_the_loss(architecture):
    batch, model = batch_of(architecture), tiny(architecture)
    labels = batch.labels.clone()
    labels[0, (labels[0] != IGNORED).nonzero()[0]] = 20
    assert loss_of(model, replace(batch, labels=labels)).item() != loss_of(model, batch).item()


def test_our_loss_is_the_library_s_own_for_a_single_row(architecture):
    batch, model = batch_of(architecture, PAIRS[:1]), tiny(architecture)
    theirs = model(
        input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=batch.labels
    ).loss.item()
    assert loss_of(model, batch).item() == pytest.approx(theirs, abs=1e-5)


def test_padding_does_not_change_the_loss_of_a_document():
    model, short, long = tiny("bloom"), [5, 6, 7, 2], [8, 9, 10, 11, 12, 13, 2]
    alone = [loss_of(model, next_token_batch([row], pad=3)).item() * (len(row) - 1) for row in (short, long)]
    together = loss_of(model, next_token_batch([short, long], pad=3)).item() * (len(short) + len(long) - 2)
    assert together == pytest.approx(sum(alone), abs=1e-4)


@pytest.mark.parametrize("seed", range(50))
def test_what_is_left_and_what_is_hidden_give_the_row_again(seed):
    rng = random.Random(seed)
    row, sentinels = list(range(100, 100 + rng.randint(3, 40))), list(range(20))
    spans = draw_spans(len(row), 0.3, 3, rng)
    left, hidden = corrupt(row, spans, sentinels)
    pieces: dict[int, list[int]] = {}
    for token in hidden:
        if token < 100:
            current = pieces.setdefault(token, [])
        else:
            current.append(token)
    assert [part for token in left for part in ([token] if token >= 100 else pieces[token])] == row
    assert 0 < sum(map(len, pieces.values())) <= 0.3 * len(row) + 1


def test_overlapping_spans_are_refused():
    with pytest.raises(BadInput, match="ordered, apart"):
        corrupt([1, 2, 3, 4], [(0, 2), (1, 3)], [90, 91])


def test_an_empty_target_is_refused():
    with pytest.raises(BadInput, match="empty target"):
        pairs_batch([([1], [])], pad=0, encoder_decoder=True)


PLAN = Plan(steps=6, learning_rate=1e-2, warmup=2)


def interrupted_after(steps: int):
    def report(step, loss):
        if step == steps:
            raise KeyboardInterrupt

    return report


def stepwise(architecture: str):
    return lambda step: batch_of(architecture, [([5 + step, 6], [8 + step, 3]), ([9], [11, 12, 3])])


def test_a_resumed_training_gives_the_same_losses_and_weights(architecture, tmp_path):
    whole = tiny(architecture)
    losses = train(whole, stepwise(architecture), PLAN)
    with pytest.raises(KeyboardInterrupt):
        train(
            tiny(architecture),
            stepwise(architecture),
            PLAN,
            tmp_path,
            every_seconds=0,
            report=interrupted_after(4),
        )
    resumed = tiny(architecture, seed=1)
    assert train(resumed, stepwise(architecture), PLAN, tmp_path) == losses
    assert all(
        torch.equal(mine, theirs)
        for mine, theirs in zip(resumed.parameters(), whole.parameters(), strict=True)
    )


def test_twin_a_training_begun_anew_with_other_weights_differs(architecture):
    one, other = tiny(architecture), tiny(architecture, seed=1)
    assert train(one, stepwise(architecture), PLAN) != train(other, stepwise(architecture), PLAN)


def test_a_checkpoint_of_another_plan_is_refused(tmp_path):
    train(tiny("bloom"), stepwise("bloom"), PLAN, tmp_path)
    with pytest.raises(BadInput, match="another plan"):
        train(tiny("bloom"), stepwise("bloom"), replace(PLAN, steps=7), tmp_path)


def test_a_loss_that_is_no_number_stops_the_training():
    model = tiny("bloom")
    with torch.no_grad():
        model.transformer.word_embeddings.weight[8] = float("nan")
    with pytest.raises(BadInput, match="lower the learning rate"):
        train(model, stepwise("bloom"), PLAN)


def test_the_learning_rate_warms_up_stays_and_falls_to_nothing():
    plan = Plan(steps=100, learning_rate=1.0, warmup=10, decay=0.3)
    rates = [plan.rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[10:70] == [1.0] * 60
    assert rates[70:] == sorted(rates[70:], reverse=True)
    assert 0 < rates[-1] < 0.05
