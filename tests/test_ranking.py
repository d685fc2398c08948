"""Ranking: equals the slow loop and the published rules on both sides, whatever the batch; cached = fresh."""

from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workbench.engines.transformers import mt5
from workbench.engines.transformers.padding import real
from workbench.errors import BadInput, UnknownName
from workbench.inference.ranking import rank
from workbench.inference.scoring import PROTOCOLS, protocol_for, score
from workbench.models import load
from workbench.models.requests import ComputeOptions, ScoringRule, ToScore
from workbench.store import Store
from workbench.tasks import Item

PROMPTS = ["The cat sat on the mat. True or false?", "Le chat", "猫坐在垫子上。对吗？", "Paka ameketi. " * 6]
ITEMS = [Item(f"{n}", p, ("yes", "no maybe", "peut-être que oui"), n % 3) for n, p in enumerate(PROMPTS)]


def slow_sum(engine, prompt, choice):
    """The published rules in a few lines, no batch: t-zero's for BLOOM (space, no end), for mT5 (end token, no space)."""
    tokenize = lambda text, special: engine.tokenizer(text, add_special_tokens=special)["input_ids"]  # noqa: E731
    ids = tokenize(prompt, False)
    longest = min(512 if engine.is_encoder_decoder else 2048, engine.identity.context_length)
    with torch.inference_mode():
        if engine.is_encoder_decoder:
            target = tokenize(choice, True)
            logits = engine.model(
                input_ids=torch.tensor([ids[:longest]]), decoder_input_ids=torch.tensor([[0, *target[:-1]]])
            ).logits[0]
        else:
            target = tokenize(" " + choice, False)
            logits = engine.model(input_ids=torch.tensor([ids[:longest] + target])).logits[
                0, -len(target) - 1 : -1
            ]
    return torch.log_softmax(logits.float(), -1)[range(len(target)), target].sum().item()


def test_scores_equal_the_slow_loop_under_the_published_rules(model):
    table = rank(model, ITEMS, protocol="xmtf")
    for item, scores in zip(ITEMS, table["scores"], strict=True):
        assert scores == pytest.approx(
            [slow_sum(model.engine, item.prompt, c) for c in item.choices], abs=1e-4
        )


def test_the_two_sides_rules_differ_in_what_they_score(model):
    """The twin: under the other side's rules the scores are others."""
    own, other = ("xmtf-mt5", "xmtf-bloom") if model.is_encoder_decoder else ("xmtf-bloom", "xmtf-mt5")
    first, second = rank(model, ITEMS, protocol=own), rank(model, ITEMS, protocol=other)
    assert first["scores"].tolist() == rank(model, ITEMS)["scores"].tolist()
    assert all(abs(a[0] - b[0]) > 0.01 for a, b in zip(first["scores"], second["scores"], strict=True))


def test_batch_order_and_padding_change_nothing(model, tmp_path):
    def scores(items, batch_tokens, name):
        handle = load(model.name, device="cpu", store=Store(tmp_path / name))
        return rank(handle, items, batch_tokens=batch_tokens).set_index("id")["scores"]

    together, apart = scores(ITEMS, 1000, "a"), scores(ITEMS[::-1], 110, "b")
    for name in together.index:
        assert together[name] == pytest.approx(apart[name], abs=1e-4)


def test_an_engine_that_sees_a_few_requests_at_a_time_gives_the_same_answers(model, tmp_path, monkeypatch):
    seen = []
    score_all = type(model.engine).score
    monkeypatch.setattr(
        type(model.engine),
        "score",
        lambda engine, asked, *rest: seen.append(len(asked)) or score_all(engine, asked, *rest),
    )

    def scores(at_once, name):
        monkeypatch.setattr("workbench.inference.cached._PER_ENGINE_CALL", at_once)
        handle = load(model.name, device="cpu", store=Store(tmp_path / name))
        return [score for row in rank(handle, ITEMS)["scores"] for score in row]

    whole = scores(1000, "a")
    assert len(ITEMS) * 3 in seen, "the twin: one part held all"
    seen.clear()
    assert scores(5, "b") == pytest.approx(whole, abs=1e-4)
    assert seen[:3] == [5, 5, 2]


def test_without_the_mask_padding_would_change_the_scores(checkpoints, store, monkeypatch):
    """The twin, where the mask matters: an encoder looks at padding unless it is masked."""
    engine = load(str(checkpoints["mt5"]), device="cpu", store=store).engine
    requests = [ToScore(item.prompt, "yes") for item in ITEMS]
    right = collect(engine.score(requests, ScoringRule(), ComputeOptions()))
    source_bias = mt5._source_bias
    monkeypatch.setattr(mt5, "_source_bias", lambda m, heard: source_bias(m, torch.ones_like(heard)))
    monkeypatch.setattr(mt5, "real", lambda rows, device: torch.ones_like(real(rows, device)))
    assert any(
        abs(sum(a.logprobs) - sum(b.logprobs)) > 0.01
        for a, b in zip(right, collect(engine.score(requests, ScoringRule(), ComputeOptions())), strict=True)
    )


def test_cached_equals_fresh_to_the_bit(model):
    fresh = rank(model, ITEMS)
    again = load(model.name, device="cpu", store=model.store)
    assert rank(again, ITEMS).equals(fresh)
    assert "engine" not in vars(again)


def test_a_planted_favourite_wins(model):
    """Greedy text is the likeliest first token, so as a single-token choice it beats any other."""
    engine = model.engine
    for prompt in PROMPTS:
        ids = engine.tokenizer(prompt, add_special_tokens=False, return_tensors="pt").input_ids
        extra = {"decoder_input_ids": torch.tensor([[0]])} if engine.is_encoder_decoder else {}
        with torch.inference_mode():
            best = engine.model(input_ids=ids, **extra).logits[0, -1].argsort(descending=True)
        tokens = [
            t
            for t in best.tolist()
            if engine.tokenizer.encode(engine.tokenizer.decode([t]), add_special_tokens=False) == [t]
        ]
        texts = [engine.tokenizer.decode([tokens[0]]), engine.tokenizer.decode([tokens[9]])]
        rule = ScoringRule(special_tokens=False)
        favourite, other = collect(engine.score([ToScore(prompt, t) for t in texts], rule, ComputeOptions()))
        assert sum(favourite.logprobs) > sum(other.logprobs)


def test_the_table_says_what_it_should(model):
    table = rank(model, ITEMS)
    row = table.iloc[0]
    assert row.prediction == max(range(3), key=lambda i: row.scores[i])
    assert row.correct == (row.prediction == row.gold)
    assert row.margin == pytest.approx(sorted(row.scores)[-1] - sorted(row.scores)[-2])
    assert len(row.tokens) == len(row.choices) == 3


def test_a_tie_is_reported(model):
    table = rank(model, [Item("t", PROMPTS[0], ("yes", "yes", "no no no no"), 0), ITEMS[0]])
    assert table["tie"].tolist() == [True, False]


def test_normalisation_is_by_scored_tokens(model):
    mean, total = rank(model, ITEMS, protocol="per-token"), rank(model, ITEMS)
    for a, b in zip(mean.itertuples(), total.itertuples(), strict=True):
        assert a.scores == pytest.approx([s / n for s, n in zip(b.scores, b.tokens, strict=True)])


@pytest.mark.parametrize(
    "context", [128, 4096]
)  # what the model was made for: below and above the protocol's 512
def test_the_published_protocol_cuts_long_prompts_and_counts_them_and_the_other_refuses(
    checkpoints, store, context
):
    model = load(str(checkpoints["mt5"]), device="cpu", store=store)
    model.identity = replace(model.identity, context_length=context)
    long = Item("long", "word " * 200, ("yes", "no"), 0)
    table = rank(model, [long, ITEMS[0]])
    assert table["truncated"].tolist() == [True, False]
    assert table["scores"][0] == pytest.approx(
        [slow_sum(model.engine, long.prompt, c) for c in long.choices], abs=1e-3
    )
    if context == 128:
        with pytest.raises(BadInput, match="shorten"):
            rank(model, [long], protocol="per-token")
    else:
        assert not rank(model, [long], protocol="per-token")["truncated"].any()


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (Item("x", "p", "books", 0), "choices is one string"),
        (Item("x", "p", ("only",), 0), "at least two"),
        (Item("x", "p", ("a", " "), 0), "choice 1 is ' '"),
        (Item("x", "p", (1, 2), 0), "choice 0 is 1, a int"),
        (Item("x", "p", None, 0), "choices is None"),
        (Item("x", " ", ("a", "b"), 0), "prompt is ' '"),
        (Item("x", None, ("a", "b"), 0), "prompt is None"),
        (Item("x", "a \ud83d b", ("a", "b"), 0), "prompt has a lone surrogate"),
        (Item("x", "p", ("a", "\udc00"), 0), "choice 1 has a lone surrogate"),
        (Item("x", "p", ("a", "b"), "1"), "gold='1'"),
        (Item("x", "p", ("a", "b"), True), "gold=True"),
        (Item("x", "p", ("a", "b"), float("nan")), "gold=nan"),
        (Item("x", "p", ("a", "b"), -1), "gold=-1"),
        (Item("x", "p", ("a", "b"), 2), "gold 2"),
    ],
)
def test_bad_items_are_named(model, item, message):
    with pytest.raises(BadInput, match=rf"item 'x'.*{message}"):
        rank(model, [*ITEMS, item])
    assert model.store.info()["answers"] == 0


def test_a_protocol_must_be_known_and_outsiders_name_their_side(model, monkeypatch):
    with pytest.raises(UnknownName, match="xmtf"):
        protocol_for(model, "xmft")
    monkeypatch.setattr(type(model), "architecture", "gpt2")
    with pytest.raises(UnknownName, match="xmtf-bloom or xmtf-mt5"):
        protocol_for(model, None)
    assert protocol_for(model, "xmtf-bloom") is PROTOCOLS["xmtf-bloom"]


def test_token_scores_of_a_text_equal_the_models_loss(model):
    """Cross-entropy as transformers computes it, times the tokens, is minus the sum."""
    text = PROMPTS[0]
    [answer] = score(model, [text])
    engine = model.engine
    ids = engine.tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids
    with torch.inference_mode():
        loss = engine.model(
            **({"input_ids": torch.tensor([[1]])} if engine.is_encoder_decoder else {"input_ids": ids}),
            labels=ids,
        ).loss
    scored = [x for x in answer.logprobs if x is not None]
    assert len(scored) == ids.shape[1] - (0 if engine.is_encoder_decoder else 1)
    assert -sum(scored) / len(scored) == pytest.approx(loss.item(), abs=1e-4)


def test_a_prompt_changes_the_scores_of_a_text(model):
    alone, after = score(model, ["the cat"])[0], score(model, ["the cat"], prompts=["Le chat:"])[0]
    assert alone.tokens == after.tokens
    assert alone.logprobs[-1] != after.logprobs[-1]
    with pytest.raises(BadInput, match="one prompt per text"):
        score(model, ["a", "b"], prompts=["c"])


texts = st.text(alphabet="abc déф猫。 ?", min_size=1, max_size=25).filter(str.strip)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pairs=st.lists(st.tuples(texts, texts), min_size=1, max_size=6))
def test_any_batch_of_any_texts_scores_like_one_by_one(model, pairs):
    requests = [ToScore(prompt, text) for prompt, text in pairs]
    for rule in (PROTOCOLS["xmtf-bloom"].rule, PROTOCOLS["xmtf-mt5"].rule):
        together = collect(model.engine.score(requests, rule, ComputeOptions()))
        for request, batched in zip(requests, together, strict=True):
            [alone] = collect(model.engine.score([request], rule, ComputeOptions(exact=True)))
            assert batched.tokens == alone.tokens
            assert batched.logprobs == pytest.approx(alone.logprobs, abs=1e-4)


def collect(batches):
    found = {
        p: answer for positions, answers in batches for p, answer in zip(positions, answers, strict=True)
    }
    return [found[place] for place in sorted(found)]


def test_what_is_no_list_item_or_model_is_refused_in_a_sentence(model):
    with pytest.raises(BadInput, match="expected an Item"):
        rank(model, ["hello"])
    with pytest.raises(BadInput, match="a list of texts"):
        score(model, "Anna")
    with pytest.raises(BadInput, match="load"):
        score(model.name, ["Anna"])
    with pytest.raises(BadInput, match="batch_tokens=0"):
        rank(model, ITEMS, batch_tokens=0)
