"""Sharing: what begins alike is computed once, scores stay those of every sequence alone, memory stays in its budget."""

import time

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workbench.engines.transformers import bloom, log_probabilities
from workbench.engines.transformers.encoding import Encoder
from workbench.engines.transformers.trees import Path, Row, in_batches, lay_out, padded_size
from workbench.errors import BadInput
from workbench.inference.ranking import rank
from workbench.inference.scoring import PROTOCOLS, score
from workbench.models import load
from workbench.models.requests import ComputeOptions, ScoringRule, ToScore
from workbench.store import Store
from workbench.tasks import Item

HEADER = "The cat sat on the mat. Le chat est assis sur le tapis. " * 3
ITEMS = [
    Item("few", f"{HEADER}{question}", ("yes", "no", "no maybe", "no maybe not"), 0)
    for question in ("True or false?", "True or not?", "猫坐在垫子上。对吗？")
] + [Item("other", "Paka ameketi.", ("a", "b", "a"), 0), Item("other", "Paka", ("ameketi juu", "yes"), 0)]
REQUESTS = [ToScore(item.prompt, choice) for item in ITEMS for choice in item.choices]
OWN = {"bloom": PROTOCOLS["xmtf-bloom"].rule, "mt5": PROTOCOLS["xmtf-mt5"].rule}


def scores(model, requests=REQUESTS, options=ComputeOptions(), rule=None):  # noqa: B008
    found = {}
    for positions, answers in model.engine.score(requests, rule or OWN[model.architecture], options):
        found |= dict(zip(positions, answers, strict=True))
    return [found[position].logprobs for position in range(len(requests))]


def differs(one, other):
    return max(abs(a - b) for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True))


def paths(*sequences, first=1):
    nothing = np.empty(0, dtype=np.int32)
    return [Path(nothing, np.array(tokens, dtype=np.int32), first) for tokens in sequences]


def rows_of(*sequences, price=0.0, budget=1000, first=1):
    made = paths(*sequences, first=first)
    return lay_out(made, range(len(made)), pair_price=price, budget=budget)


@pytest.mark.parametrize("budget", [None, 130, 400])
def test_trees_score_like_every_sequence_alone(model, budget):
    assert (
        differs(
            scores(model, options=ComputeOptions(budget)), scores(model, options=ComputeOptions(exact=True))
        )
        < 1e-4
    )


def test_branches_that_saw_each_other_would_score_otherwise(model, monkeypatch):
    """The twin: without the tree's mask, a choice is read after the choices before it."""
    right = scores(model)
    monkeypatch.setattr(Row, "visible", lambda self, width: np.tri(width, dtype=bool))
    assert differs(right, scores(model)) > 0.01


def test_positions_by_place_in_the_row_would_score_otherwise(model, monkeypatch):
    """The twin for positions: a node's is its depth."""
    right = scores(model)
    monkeypatch.setattr(
        log_probabilities,
        "lay_out",
        lambda *args, **options: [_by_place(r) for r in lay_out(*args, **options)],
    )
    assert differs(right, scores(model)) > 0.01


def _by_place(row):
    row.depths = row.depths.__class__("i", range(len(row.tokens)))
    return row


tokens = st.lists(st.integers(5, 7), min_size=2, max_size=9)


@given(sequences=st.lists(tokens, min_size=1, max_size=8), budget=st.integers(9, 40))
def test_every_node_sees_its_own_sequence_and_nothing_else(sequences, budget):
    for row in rows_of(*sequences, budget=budget):
        seen = row.visible(len(row.tokens))
        for number, nodes in row.reads:
            assert [row.tokens[node] for node in nodes] == sequences[number][:-1]
            assert np.flatnonzero(seen[nodes[-1]]).tolist() == nodes.tolist()
            assert [row.depths[node] for node in nodes] == list(range(len(nodes)))
        assert len(row.tokens) <= budget


def test_what_is_shared_is_laid_out_once():
    """Two labels that begin alike after a prompt, and one of a single token that costs nothing."""
    [row] = rows_of([1, 2, 3, 8, 9, 9], [1, 2, 3, 8, 4], [1, 2, 3, 5], first=3)
    assert row.tokens.tolist() == [1, 2, 3, 8, 9]
    assert sorted(len(nodes) for _, nodes in row.reads) == [1, 2, 3]


def test_prompts_join_where_it_pays_and_only_there():
    header = list(range(100, 150))
    few_shot = [[*header, n, n + 1, n + 2] for n in range(5)]
    barely = [[1, n, *header] for n in range(5)]
    assert len(rows_of(*few_shot, price=0.01)) == 1
    assert len(rows_of(*few_shot, price=0.01, budget=55)) > 1
    assert len(rows_of(*barely, price=0.01)) == 5
    assert len(rows_of(*barely, price=0.00001)) == 1
    assert len(rows_of(*[[n, *header] for n in range(5)], price=0.0)) == 5


@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=30),
    budget=st.integers(30, 100),
    pairs=st.integers(900, 3000),
)
def test_batches_hold_every_row_once_within_the_budget(lengths, budget, pairs):
    rows = rows_of(*[[n * 100, *range(length)] for n, length in enumerate(lengths)])
    batches = list(in_batches(rows, budget, pairs))
    assert sorted(id(row) for batch in batches for row in batch) == sorted(map(id, rows))
    assert all(padded_size(batch) <= budget for batch in batches)


def test_an_encoder_reads_every_prompt_once_and_a_place_gets_one_softmax(checkpoints, store, monkeypatch):
    model = load(str(checkpoints["mt5"]), device="cpu", store=store)
    read, places = [], []
    encoder = model.engine.model.get_encoder()
    encoder.register_forward_pre_hook(
        lambda module, args, kwargs: read.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    real = log_probabilities._log_probabilities
    monkeypatch.setattr(
        log_probabilities,
        "_log_probabilities",
        lambda *args, **wide: places.append(len(args[1])) or real(*args, **wide),
    )
    scores(model)
    ids = {request: model.engine.tokenizer(request.text).input_ids for request in REQUESTS}
    beginnings = {(r.prompt, tuple(ids[r][:n])) for r in REQUESTS for n in range(len(ids[r]))}
    assert sum(read) == len({request.prompt for request in REQUESTS})
    assert sum(places) == len(beginnings)


def test_a_budget_too_small_for_a_prompt_says_what_is_needed(model):
    with pytest.raises(
        BadInput, match=r"batch_tokens=20, but one prompt and text have \d+ tokens; give at least that"
    ):
        rank(model, ITEMS, batch_tokens=20)


def test_a_choice_beyond_the_context_is_refused_under_every_protocol(model):
    for protocol in ("xmtf", "per-token", "pmi", "lm-eval"):
        with pytest.raises(BadInput, match="takes 128: shorten"):
            rank(model, [Item("x", "Le chat", ("yes", "no " * 200), 0)], protocol=protocol)


def test_out_of_memory_halves_the_budget_and_repeats_no_batch(model, monkeypatch):
    right, real, sizes = scores(model), log_probabilities.Scorer._read, []

    def small(self, rows, all_paths):
        sizes.append(padded_size(rows))
        if sizes[-1] > 90 and sum(len(row.reads) for row in rows) > 1:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return real(self, rows, all_paths)

    monkeypatch.setattr(log_probabilities.Scorer, "_read", small)
    with pytest.warns(UserWarning, match=r"out of memory with \d+ tokens in a batch; continuing with \d+"):
        assert differs(right, scores(model)) < 1e-4
    monkeypatch.setattr(log_probabilities.Scorer, "_read", lambda *args: (_ for _ in ()).throw(MemoryError()))
    with (
        pytest.raises(BadInput, match="does not fit into memory"),
        pytest.warns(UserWarning, match="continuing"),
    ):
        scores(model)


def test_another_runtime_error_is_not_taken_for_memory(model, monkeypatch):
    monkeypatch.setattr(
        log_probabilities.Scorer, "_read", lambda *args: (_ for _ in ()).throw(RuntimeError("shapes"))
    )
    with pytest.raises(RuntimeError, match="shapes"):
        scores(model)


def test_exact_scores_have_the_same_bits_in_any_company_and_the_fast_ones_need_not(model):
    """The twin is in the last line: trees and batches move some last bits."""
    exact = ComputeOptions(exact=True)
    together, fast = scores(model, options=exact), scores(model)
    assert together == [scores(model, [request], exact)[0] for request in REQUESTS]
    assert together == scores(model, REQUESTS[::-1], exact)[::-1]
    assert 0 < differs(together, fast) < 1e-4


def test_exact_answers_have_a_key_of_their_own(model):
    first = rank(model, ITEMS)
    assert rank(model, ITEMS, exact=True)["prediction"].tolist() == first["prediction"].tolist()
    assert model.tally.hits == 0
    misses = model.tally.misses
    rank(model, ITEMS, exact=True, batch_tokens=300)
    assert model.tally.misses == misses


def test_a_run_checks_itself_and_says_what_differs(model, monkeypatch):
    table = rank(model, ITEMS)
    audit = table.attrs["audit"]
    assert audit["items"] == 1
    assert audit["largest_difference"] < 1e-4
    assert audit["flips"] == []
    assert rank(model, ITEMS).attrs["audit"]["items"] == 0  # nothing was computed


def test_a_batch_that_disturbed_its_scores_would_be_seen(model, monkeypatch):
    """The twin: a model whose first batch is wrong."""
    real, calls = log_probabilities.Scorer._apply_head, []

    def wrong_at_first(self, batches):
        calls.append(1)
        found = real(self, batches)
        return {n: [x if len(calls) > 1 else 1000 / x for x in each] for n, each in found.items()}

    monkeypatch.setattr(log_probabilities.Scorer, "_apply_head", wrong_at_first)
    audit = rank(model, ITEMS[:1], batch_tokens=1000).attrs["audit"]
    assert audit["largest_difference"] > 1
    assert audit["flips"] == ["few"]


def test_a_run_of_a_notebook_notes_its_audits(model, tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_RUN", str(tmp_path))
    rank(model, ITEMS[:2])
    rank(model, ITEMS[2:])
    text = (tmp_path / "facts.json").read_text()
    assert '"items": 2' in text
    assert '"largest_difference"' in text


SCRIPTS = "abc déf猫坐。 ?हिन्दीالعربيةไทยქართულიमराठी한국어🙂\n\t’"
strings = st.text(alphabet=SCRIPTS, min_size=1, max_size=12).filter(str.strip)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(prompt=strings, text=strings, space=st.booleans())
def test_no_cut_leaves_a_text_without_tokens(model, prompt, text, space):
    """In any script, with tokens that span the cut, under every rule."""
    encoder = model.engine._encoder
    for joined in (True, False):
        rule = ScoringRule(leading_space=space, special_tokens=False, joined=joined)
        [encoded] = encoder.encode([ToScore(prompt, text)], rule)
        assert len(encoded.text) > 0
        assert len(encoded.prompt) + len(encoded.text) > 0


@pytest.mark.parametrize("wide", [True, False])
def test_half_precision_is_multiplied_in_float32_where_that_is_faster(checkpoints, store, monkeypatch, wide):
    """Scores are then those of float32 arithmetic on the rounded weights; twin: otherwise they are not."""
    half = load(str(checkpoints["bloom"]), device="cpu", dtype="bfloat16", store=store)
    full = load(str(checkpoints["bloom"]), device="cpu", store=store)
    rounded = {name: weight.bfloat16().float() for name, weight in full.hf.model.state_dict().items()}
    full.hf.model.load_state_dict(rounded)
    for module in (bloom, log_probabilities):
        monkeypatch.setattr(module, "better_wide", lambda model: wide and model.dtype != torch.float32)
    assert (differs(scores(half), scores(full)) < 1e-4) is wide


class Merging:
    """A tokenizer that makes one token of "ab"; others are letters."""

    def __call__(self, texts, **options):
        return {"input_ids": [[ord(c) for c in text.replace("ab", "Z")] for text in texts]}


def test_where_a_token_spans_the_cut_the_text_begins_after_the_last_common_one(checkpoints, store):
    """lm-evaluation-harness 0.4.13 stops with an assertion here."""
    encoder = Encoder(load(str(checkpoints["bloom"]), store=store).identity, Merging(), end=1, rows=1000)
    rule = ScoringRule(special_tokens=False, joined=True)
    [encoded, plain] = encoder.encode([ToScore("xa", "b"), ToScore("xa", "c")], rule)
    assert (encoded.prompt.tolist(), encoded.text.tolist()) == ([ord("x")], [ord("Z")])
    assert (plain.prompt.tolist(), plain.text.tolist()) == ([ord("x"), ord("a")], [ord("c")])


def test_the_lm_eval_protocol_follows_its_rules(model):
    """A space between, white space at the prompt's end goes over; an encoder's end token is read, the target's not scored."""
    engine, prompt, choice = model.engine, "Le chat \n", "no maybe"
    table = rank(model, [Item("x", prompt, (choice, "yes"), 0)], protocol="lm-eval")
    ids = lambda text, special=False: engine.tokenizer(text, add_special_tokens=special)["input_ids"]  # noqa: E731
    with torch.inference_mode():
        if engine.is_encoder_decoder:
            target = ids(" \n " + choice)
            read = {
                "input_ids": torch.tensor([ids("Le chat", True)]),
                "decoder_input_ids": torch.tensor([[0, *target[:-1]]]),
            }
            logits = engine.model(**read).logits[0]
        else:
            both = ids(prompt + " " + choice)
            target = both[len(ids("Le chat")) :]
            logits = engine.model(input_ids=torch.tensor([both])).logits[0, -len(target) - 1 : -1]
    expected = torch.log_softmax(logits.float(), -1)[range(len(target)), target].sum().item()
    assert table["scores"][0][0] == pytest.approx(expected, abs=1e-4)
    assert table["protocol"][0].startswith("lm-eval-")


def test_pmi_takes_off_what_a_choice_has_alone_and_computes_that_once(model):
    plain, pmi = rank(model, ITEMS, protocol="per-token"), rank(model, ITEMS, protocol="pmi")
    end = model.engine.tokenizer.eos_token
    alone = {choice for item in ITEMS for choice in item.choices}
    space = "" if model.is_encoder_decoder else " "
    for choice in ("yes", "no maybe"):
        [row, place] = next((r, r.choices.index(choice)) for r in pmi.itertuples() if choice in r.choices)
        total = plain.loc[plain["prompt"] == row.prompt, "scores"].iloc[0][place] * row.tokens[place]
        rule = ScoringRule(special_tokens=False, score_end=model.is_encoder_decoder)
        [base] = scores(model, [ToScore(end, space + choice)], ComputeOptions(), rule)
        assert row.scores[place] == pytest.approx(total - sum(base), abs=1e-4)
    assert model.tally.misses == len(set(REQUESTS)) * (1 if model.is_encoder_decoder else 2) + len(alone)


MANY = [Item(str(n), f"{n} is a number", ("yes", "no maybe")) for n in range(120)]


def rank_six_batches(said, name, path):
    """Rank in batches, and stop before the seventh, which is said."""
    torch.set_num_threads(1)  # a fork has no threads but its own
    real, calls = log_probabilities.Scorer._read, []

    def stop_at_the_seventh(*given):
        calls.append(1)
        if len(calls) == 7:
            said.send("now")
            time.sleep(600)
        return real(*given)

    log_probabilities.Scorer._read = stop_at_the_seventh
    rank(load(name, store=Store(path), device="cpu"), MANY, batch_tokens=60, progress=False)


def test_killed_in_the_middle_it_repeats_no_scored_batch(model, process_of):
    process, said = process_of(rank_six_batches, model.name, model.store.path)
    assert said.recv() == "now"
    process.kill()
    process.join()
    kept = model.store.info()["answers"]
    assert 0 < kept < 240
    again = rank(model, MANY)
    assert (model.tally.hits, model.tally.misses) == (kept, 240 - kept)
    other = load(model.name, device="cpu", store=Store(model.store.path.with_name("other")))
    for one, two in zip(again["scores"], rank(other, MANY)["scores"], strict=True):
        assert one == pytest.approx(two, abs=1e-4)


def test_a_text_alone_of_one_token_has_no_score_in_a_decoder(checkpoints, store):
    model = load(str(checkpoints["bloom"]), device="cpu", store=store)
    assert [answer.logprobs for answer in score(model, ["a", "b"])] == [(None,), (None,)]
