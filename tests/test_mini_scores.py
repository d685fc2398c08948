"""What checks and cards say of a member is what a plain loop over one pair at a time gives, by the published rules."""

import pytest
import torch
from transformers import AutoTokenizer

from miniatures.architectures import load_float32
from miniatures.scores import answered
from workbench.tasks import Item

ITEMS = [
    Item(str(number), prompt, ("yes", "no maybe", "peut-être que oui"), gold=number)
    for number, prompt in enumerate(
        ("The cat sat on the mat. True or false?", "Le chat", "猫坐在垫子上。对吗？ " * 4)
    )
]


def one_at_a_time(folder, item, space=" "):
    """All logits of one row without padding, and the log-probabilities of each choice's tokens added up."""
    model, tokenizer = load_float32(folder), AutoTokenizer.from_pretrained(folder)
    source, scores = tokenizer.encode(item.prompt, add_special_tokens=False), []
    for choice in item.choices:
        with torch.inference_mode():
            if model.config.is_encoder_decoder:
                target = [*tokenizer.encode(choice, add_special_tokens=False), tokenizer.eos_token_id]
                before = [model.config.decoder_start_token_id, *target[:-1]]
                given = {"input_ids": torch.tensor([source]), "decoder_input_ids": torch.tensor([before])}
                logits = model(**given).logits[0]
            else:
                target = tokenizer.encode(space + choice, add_special_tokens=False)
                logits = model(torch.tensor([source + target])).logits[0, len(source) - 1 : -1]
        scores.append(logits.log_softmax(-1)[range(len(target)), target].sum().item())
    return scores


def slow(folder, **rule):
    """The margin of the right choice over the best other one."""
    found = [one_at_a_time(folder, item, **rule) for item in ITEMS]
    return [
        scores[item.gold] - max(score for place, score in enumerate(scores) if place != item.gold)
        for item, scores in zip(ITEMS, found, strict=True)
    ]


@pytest.mark.parametrize("side", ["bloom", "mt5"])
def test_margins_are_those_of_one_pair_at_a_time(checkpoints, side):
    assert answered(checkpoints[side], ITEMS)["margin"].tolist() == pytest.approx(
        slow(checkpoints[side]), abs=1e-4
    )


def test_twin_another_rule_for_the_space_gives_other_margins(checkpoints):
    assert answered(checkpoints["bloom"], ITEMS)["margin"].tolist() != pytest.approx(
        slow(checkpoints["bloom"], space=""), abs=1e-1
    )


@pytest.mark.parametrize("gold", [0, 1])
@pytest.mark.parametrize("side", ["bloom", "mt5"])
def test_of_equal_scores_the_first_choice_wins(checkpoints, side, gold):
    [found] = answered(checkpoints[side], [Item("x", "Le chat", ("yes", "yes"), gold)]).to_dict("records")
    assert (found["correct"], found["margin"]) == (gold == 0, 0.0)


def test_nothing_is_left_in_the_store_that_all_share(checkpoints, monkeypatch, tmp_path):
    monkeypatch.setenv("WORKBENCH_STORE", str(tmp_path / "store.sqlite"))
    answered(checkpoints["mt5"], ITEMS)["margin"].tolist()
    assert not (tmp_path / "store.sqlite").exists()
