"""The plain scoring loop of the miniature family: the published rules, and no work that they do not need."""

import pytest
import torch
from transformers import AutoTokenizer

from miniatures import scores
from miniatures.architectures import load_float32
from miniatures.scores import choice_scores
from workbench.inference.ranking import rank
from workbench.models import load
from workbench.tasks import Item

PAIRS = [
    (prompt, choice)
    for prompt in ("The cat sat on the mat. True or false?", "Le chat", "猫坐在垫子上。对吗？ " * 4)
    for choice in ("yes", "no maybe", "peut-être que oui")
]


@pytest.fixture(scope="module", params=["bloom", "mt5"])
def member(request, checkpoints):
    folder = checkpoints[request.param]
    return load_float32(folder), AutoTokenizer.from_pretrained(folder)


def one_at_a_time(model, tokenizer, prompt, choice, space=" "):
    """All logits of one row without padding, and the log-probabilities of the choice's tokens added up."""
    source = tokenizer.encode(prompt, add_special_tokens=False)
    with torch.inference_mode():
        if model.config.is_encoder_decoder:
            target = [*tokenizer.encode(choice, add_special_tokens=False), tokenizer.eos_token_id]
            before = [model.config.decoder_start_token_id, *target[:-1]]
            given = {"input_ids": torch.tensor([source]), "decoder_input_ids": torch.tensor([before])}
            logits = model(**given).logits[0]
        else:
            target = tokenizer.encode(space + choice, add_special_tokens=False)
            logits = model(torch.tensor([source + target])).logits[0, len(source) - 1 : -1]
    return logits.log_softmax(-1)[range(len(target)), target].sum().item()


def test_scores_in_a_batch_are_those_of_one_pair_at_a_time(member):
    slow = [one_at_a_time(*member, *pair) for pair in PAIRS]
    assert choice_scores(*member, PAIRS) == pytest.approx(slow, abs=1e-4)


def test_twin_another_rule_for_the_space_gives_other_scores(checkpoints):
    member = load_float32(checkpoints["bloom"]), AutoTokenizer.from_pretrained(checkpoints["bloom"])
    slow = [one_at_a_time(*member, *pair, space="") for pair in PAIRS]
    assert choice_scores(*member, PAIRS) != pytest.approx(slow, abs=1e-1)


def test_a_bloom_gives_logits_of_scored_positions_only(checkpoints):
    """The head gave logits at every position of every prompt."""
    model, tokenizer = load_float32(checkpoints["bloom"]), AutoTokenizer.from_pretrained(checkpoints["bloom"])
    rows = []
    model.lm_head.register_forward_hook(
        lambda _, given, __: rows.append(given[0].numel() // given[0].shape[-1])
    )
    choice_scores(model, tokenizer, PAIRS)
    scored = [len(tokenizer.encode(" " + choice, add_special_tokens=False)) for _, choice in PAIRS]
    assert sum(rows) == sum(scored)


@pytest.mark.parametrize("gold", [0, 1])
def test_of_equal_scores_the_first_choice_wins_here_as_in_rank(member, checkpoints, store, monkeypatch, gold):
    """A tie was once wrong here and right there."""
    item = Item("x", "Le chat", ("yes", "yes"), gold, task="t", language="x-fr", template="a", cluster="c")
    monkeypatch.setattr(scores, "choice_scores", lambda *_: [-1.5, -1.5])
    [here] = scores._rank_items(*member, [item]).to_dict("records")
    side = "mt5" if member[0].config.is_encoder_decoder else "bloom"
    [there] = rank(load(str(checkpoints[side]), device="cpu", store=store), [item]).to_dict("records")
    assert (bool(here["correct"]), here["margin"]) == (there["correct"], there["margin"]) == (gold == 0, 0.0)
