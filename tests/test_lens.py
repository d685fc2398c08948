"""The lens reads what each layer says of the next token: on both architectures, against hooks by hand, and where a truth is planted."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from workbench import Intervention
from workbench.engines.client.frames import answers_in, frames_in, pack_answers
from workbench.engines.transformers import anatomy
from workbench.errors import BadInput
from workbench.inference.lens import lens
from workbench.models import load
from workbench.models.requests import Lens, ToLens
from workbench.store import Store, validation
from workbench.studies.interpretability.concepts import read_concepts
from workbench.studies.interpretability.lens import (
    ROLES,
    LensQuestion,
    lens_by_layer,
    lens_differences,
    lens_masses,
    lens_questions,
)

PROMPTS = ["The cat sat on the mat.", "猫坐在垫子上。你好吗？", "Paka"]
ANSWERS = ["", " le chat", " El"]
WORDS = [["cat", "chat", "猫"], ["cat", "duerme"], ["mat"]]


def read(model, **how):
    return lens(model, PROMPTS, WORDS, answers=ANSWERS, progress=False, **how)


def by_hand(model, prompt, answer):
    """Log-probabilities (L+1, V) at the place that predicts what follows the answer, from hooks on the blocks."""
    tokenizer, hf = model.hf.tokenizer, model.hf.model
    ids = tokenizer(prompt)["input_ids"]
    rest = tokenizer(answer, add_special_tokens=False)["input_ids"] if answer else []
    seen = []
    blocks = anatomy.blocks(hf, "decoder")
    hooks = [blocks[0].register_forward_pre_hook(lambda _, given: seen.append(given[0][0, -1]))]
    hooks += [b.register_forward_hook(lambda _, __, out: seen.append(out[0][0, -1])) for b in blocks]
    with torch.no_grad():
        if model.is_encoder_decoder:
            logits = hf(input_ids=torch.tensor([ids]), decoder_input_ids=torch.tensor([[0, *rest]])).logits
        else:
            logits = hf(input_ids=torch.tensor([ids + rest])).logits
        head = hf.get_output_embeddings()
        layers = [head(anatomy.final_norm(hf, "decoder")(state)).log_softmax(-1).numpy() for state in seen]
    for hook in hooks:
        hook.remove()
    np.testing.assert_allclose(layers[-1], logits[0, -1].log_softmax(-1).numpy(), atol=1e-5)
    return np.stack(layers)


def test_every_layer_equals_hooks_by_hand_and_the_last_the_models_own_logits(model):
    for prompt, answer, found in zip(PROMPTS, ANSWERS, read(model), strict=True):
        expected = by_hand(model, prompt, answer)
        ids = model.hf.tokenizer.convert_tokens_to_ids(list(found.tokens))
        np.testing.assert_allclose(found.logprobs, expected[:, ids], atol=1e-4)
        np.testing.assert_allclose(found.entropies, -(np.exp(expected) * expected).sum(1), atol=1e-3)
        divergence = (np.exp(expected[-1]) * (expected[-1] - expected)).sum(1)
        np.testing.assert_allclose(found.kl, divergence, atol=1e-3)
        best = [model.hf.tokenizer.convert_ids_to_tokens(int(row.argmax())) for row in expected]
        assert [layer[0][0] for layer in found.top] == best
        assert found.logprobs.std(axis=0).max() > 0.1  # layers differ


def test_the_lens_sees_an_intervention_from_its_layer_on(model):
    stack = "decoder"
    vector = 3 * np.random.default_rng(0).standard_normal(anatomy.width(model.engine.model)).astype(
        np.float32
    )
    changed = read(model.intervened(Intervention("add", (1,), vector, stack=stack, prompts=(PROMPTS[1],))))
    for number, (plain, other) in enumerate(zip(read(model), changed, strict=True)):
        np.testing.assert_allclose(other.logprobs[0], plain.logprobs[0], atol=1e-5)
        if number == 1:
            assert np.abs(other.logprobs[1:] - plain.logprobs[1:]).max(axis=1).min() > 0.05
        else:
            np.testing.assert_allclose(other.logprobs, plain.logprobs, atol=1e-4)


def test_a_batch_gives_what_each_prompt_alone_gives(model, tmp_path):
    other = load(model.name, device="cpu", store=Store(tmp_path / "other.sqlite"))
    for number, found in enumerate(read(model)):
        (alone,) = lens(other, [PROMPTS[number]], [WORDS[number]], answers=[ANSWERS[number]], batch_size=1)
        assert alone.tokens == found.tokens
        np.testing.assert_allclose(alone.logprobs, found.logprobs, atol=1e-4)


def test_what_is_stored_is_what_was_computed_and_needs_no_weights(model, monkeypatch):
    fresh = read(model)
    again = load(model.name, device="cpu", store=model.store)
    monkeypatch.setattr(type(model), "fresh_engine", lambda _: pytest.fail("read the weights again"))
    for one, other in zip(fresh, read(again), strict=True):
        np.testing.assert_array_equal(one.logprobs, other.logprobs)
        np.testing.assert_array_equal(one.kl, other.kl)
        rest = {"logprobs": 0, "entropies": 0, "kl": 0}
        assert replace(one, **rest) == replace(other, **rest)


def test_both_spellings_count_and_a_shared_token_counts_once(model):
    (found,) = lens(model, ["Paka"], [["cat", "cat", "mat"]], progress=False)
    assert found.words[0] == found.words[1]
    np.testing.assert_allclose(found.mass([0, 1]), found.mass([0]))
    both = np.exp(found.logprobs[:, list(found.words[0])]).sum(axis=1)
    np.testing.assert_allclose(found.mass([0]), both)
    names = {found.tokens[place] for place in found.words[0]}
    assert any(name.startswith("Ġ") for name in names)
    assert any(not name.startswith("Ġ") for name in names)
    (alone,) = lens(
        model, ["Paka"], [["zebra"]], progress=False
    )  # " zebra" begins with a token that is only a space
    assert [alone.tokens[place] for place in alone.words[0]] == ["z"]


def test_readings_travel_through_the_service_unchanged(model):
    engine = model.engine
    ((positions, answers),) = engine.read_lens([ToLens("Paka", "", ("cat", "mat"))], 2, 8)
    ((_, about, raw),) = frames_in(iter([pack_answers("lens", positions, answers)]))
    assert answers_in("lens", about, raw) == (positions, answers)


WHOLE = {
    "logprobs": [[-1.0]],
    "entropies": [0.5],
    "top": [[["a", -0.1]]],
    "tokens": ["a"],
    "words": [[0]],
    "kl": [0.1],
}


@pytest.mark.parametrize(
    "wrong",
    [
        {"logprobs": [[0.5]]}, {"logprobs": [[float("nan")]]}, {"logprobs": []}, {"entropies": [-1.0]}, {"words": [[1]]}, {"words": [[]]},
        {"tokens": [1]}, {"kl": [-1.0]}, {"kl": []}, {"logprobs": [[-1.0, -1.0]]},
    ],
)  # fmt: skip
def test_a_stored_reading_that_no_model_can_give_is_found(wrong):
    assert validation.lens(WHOLE) == WHOLE == vars(Lens(**WHOLE))
    assert validation.lens(old := {name: each for name, each in WHOLE.items() if name != "kl"}) == old
    with pytest.raises(ValueError, match=r"it |a |the "):
        validation.lens({**WHOLE, **wrong})


def test_what_cannot_be_read_is_refused(model):
    for prompts, words, said in (
        (["a"], [[]], "no words"),
        (["a", "b"], [["x"]], "as many"),
        (["a"], [[" "]], "word 0"),
    ):
        with pytest.raises(BadInput, match=said):
            lens(model, prompts, words)
    with pytest.raises(BadInput, match="tokens; "):
        lens(model, ["cat " * 4000], [["a"]])


@pytest.fixture
def detour(checkpoints, tmp_path):
    """A BLOOM whose first block writes the token of "猫", and whose second replaces it by that of "chat"; and those tokens."""
    from transformers import AutoTokenizer, BloomForCausalLM

    hf = BloomForCausalLM.from_pretrained(checkpoints["bloom"])
    tokenizer = AutoTokenizer.from_pretrained(checkpoints["bloom"])
    first, second = (tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in ("猫", "chat"))
    with torch.no_grad():
        table = hf.transformer.word_embeddings.weight
        table /= table.norm(dim=1, keepdim=True)
        hf.transformer.ln_f.weight *= 3
        blocks = hf.transformer.h
        for block in blocks:
            for part in (block.self_attention.dense, block.mlp.dense_4h_to_h):
                part.weight.zero_()
                part.bias.zero_()
        blocks[0].mlp.dense_4h_to_h.bias += 100 * table[first]
        blocks[1].mlp.dense_4h_to_h.bias += 100 * (table[second] - table[first])
    hf.save_pretrained(tmp_path / "detour")
    tokenizer.save_pretrained(tmp_path / "detour")
    return load(str(tmp_path / "detour"), device="cpu", store=Store(tmp_path / "detour.sqlite"))


def test_a_planted_detour_is_found_at_its_layer_and_not_in_another_model(detour, checkpoints, store):
    words = ("chat", "猫", "Paka", "El", "no")  # in the order of ROLES
    questions = [LensQuestion(str(n), "a", "b", prompt, "", words) for n, prompt in enumerate(PROMPTS)]
    found = lens_by_layer(lens_masses(detour, questions)).set_index(["layer", "role"])["mean"]
    assert found[1, "pivot"] > 0.5 > 10 * found[1, "target"]
    assert found[2, "target"] > 0.5 > 10 * found[2, "pivot"]
    assert max(found[layer, "placebo"] for layer in range(3)) < 0.05
    apart = lens_differences(lens_masses(detour, questions)).set_index(["layer", "minus"])
    assert apart.loc[(1, "placebo"), "low"] > 0.5
    assert apart.loc[(1, "target"), "share"] == 1
    twin = lens_masses(load(str(checkpoints["bloom"]), device="cpu", store=store), questions)
    assert lens_by_layer(twin).set_index(["layer", "role"]).loc[(1, "pivot"), "mean"] < 0.3


def test_questions_whose_languages_share_a_first_token_are_dropped_and_counted(detour):
    good = LensQuestion("1", "a", "b", "Paka", "", ("chat", "猫", "Paka", "El", "no"))
    bad = replace(good, words=("chat", "chat", "Paka", "El", "no"))
    found = lens_masses(detour, [good, bad])
    assert found.attrs["dropped"] == 1
    assert len(found) == 3
    with pytest.raises(BadInput, match="share a first token"):
        lens_masses(detour, [bad])


def test_where_nothing_is_the_interval_covers_nothing():
    """Null organisms: random logits for every word, so that no role is preferred; 95 of 100 intervals must cover 0."""
    generator = np.random.default_rng(1)
    covered = []
    for _ in range(200):
        logits = 0.5 * generator.normal(size=(24, 1, 5)) + 0.3 * generator.normal(size=(24, 4, 5))
        table = pd.DataFrame(np.exp(logits).reshape(96, -1) / 400, columns=[*ROLES])
        table = table.assign(model="m", layer=1, depth=0.5, cluster=np.repeat(np.arange(24), 4))
        (row,) = lens_differences(table, minus=["placebo"]).itertuples()
        covered.append(row.low <= 0 <= row.high)
    assert 0.93 <= np.mean(covered) <= 0.97


def test_a_layer_that_gives_nothing_to_any_word_has_no_wide_interval():
    """The embeddings' output gives 1e-40 to every word; that is nothing, not [-.36, .36]."""
    table = pd.DataFrame({role: [1e-40, 3e-41, 2e-41] * 4 for role in ROLES})
    table = table.assign(model="m", layer=0, depth=0.0, cluster=np.repeat(np.arange(4), 3), pivot=4e-41)
    assert lens_differences(table)[["low", "high"]].abs().to_numpy().max() < 1e-30
    table.loc[3:, "pivot"] = 0.3  # the twin: where there is something, there is width
    assert (lens_differences(table)["high"] > 0.3).all()


def test_questions_of_a_world_put_the_word_where_the_answer_stands():
    concepts = read_concepts("miniature", ["x-en", "x-fr", "x-id", "x-sw"], limit=2)
    made = lens_questions(concepts, pivot="x-en", sources=["x-fr"], targets=["x-id", "x-sw"], limit=5)
    assert len(made) == 10
    for one in made:
        assert one.source == "x-fr" and one.target in ("x-id", "x-sw")  # noqa: PT018
        target, pivot, source, placebo, wrong = one.words
        word = concepts.words[one.cluster]
        assert (target, pivot, source) == (word[one.target], word["x-en"], word["x-fr"])
        assert placebo in {word["x-id"], word["x-sw"]} - {target}
        assert wrong in {each["x-en"] for each in concepts.words.values()} - {pivot}
        assert any(
            f"{one.answer} {target}" in concepts.text(frame, one.cluster, one.target)
            for frame in concepts.frames
        )
        assert source in one.prompt and pivot not in one.prompt  # noqa: PT018
    with pytest.raises(BadInput, match="pivot"):
        lens_questions(concepts, pivot="x-fr", sources=["x-fr"])
    with pytest.raises(BadInput, match="placebo"):
        lens_questions(
            replace(concepts, names={code: code for code in ("x-en", "x-fr", "x-id")}), pivot="x-en"
        )


def test_the_shipped_model_goes_through_english_where_xp3_left_the_language_out():
    """Seed 0: at layer 2 of 3, English above target and placebo for Spanish, Portuguese and Swahili; the base does not do so."""
    codes = ["x-en", "x-fr", "x-id", "x-es", "x-pt", "x-sw"]
    concepts = read_concepts("miniature", codes, limit=2)
    made = lens_questions(concepts, pivot="x-en", sources=["x-fr", "x-id"], targets=codes[3:], limit=12)
    low = {}
    for name in ("mini-bloomz", "mini-bloom"):
        found = lens_differences(lens_masses(load(name), made, progress=False), minus=["target", "placebo"])
        low[name] = found[found["layer"] == 2].set_index("minus")["low"]
    assert (low["mini-bloomz"] > 0.05).all()
    assert low["mini-bloom"]["target"] < -0.05
