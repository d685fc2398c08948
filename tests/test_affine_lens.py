"""The affine lens: its maps are applied as by hand, it comes closer to the output than the logit lens, and undoes a planted rotation."""

from dataclasses import replace

import numpy as np
import organism
import pytest
import torch
from organism import CONCEPT, COUNT, LANGUAGES

from workbench import load, token_states
from workbench.engines.transformers import anatomy
from workbench.errors import BadInput
from workbench.inference.lens import lens
from workbench.models.affine_lens import AffineLens
from workbench.store import Store
from workbench.studies.interpretability import affine_lens
from workbench.studies.interpretability.concepts import read_concepts

PROMPTS = ["The cat sat on the mat.", "猫坐在垫子上。你好吗？", "Paka"]
ANSWERS = ["", " le chat", " El gato"]
WORDS = [["cat", "chat", "猫"], ["cat", "duerme"], ["mat"]]


def read(model, affine=None, **how):
    return lens(model, PROMPTS, WORDS, answers=ANSWERS, affine=affine, progress=False, **how)


def shape(model):
    hf = model.engine.model
    return anatomy.depths(hf)["decoder"], anatomy.width(hf)


def drawn(model, seed=0):
    depth, width = shape(model)
    draw = np.random.default_rng(seed)
    return AffineLens(
        draw.standard_normal((depth, width, width)) / width**0.5, draw.standard_normal((depth, width))
    )


def same(one, other, layers=slice(None)):
    return all(
        np.allclose(a.logprobs[layers], b.logprobs[layers], atol=1e-4)
        for a, b in zip(one, other, strict=True)
    )


def test_identities_are_the_logit_lens_and_the_last_layer_is_always_the_models_output(model):
    depth, width = shape(model)
    plain, nothing = read(model), AffineLens([np.eye(width)] * depth, np.zeros((depth, width)))
    assert same(read(model, nothing), plain)
    mapped = read(model, drawn(model))
    assert same(mapped, plain, -1)
    assert not same(mapped, plain, 0)
    assert all(np.allclose(one.kl[-1], 0) and (one.kl[:-1] > 0.01).all() for one in mapped)


def test_the_maps_are_applied_before_norm_and_head_as_by_hand(model):
    """The states that `token_states` reads behind a prompt and its answer, mapped by numpy, through transformers' norm and head."""
    affine = drawn(model)
    last = [[-1]] * len(PROMPTS)
    states = token_states(model, PROMPTS, answers=ANSWERS, positions=last, stack="decoder").arrays
    hf = load(model.name, device="cpu", store=model.store).hf
    for reading, state in zip(read(model, affine), states, strict=True):
        ids = hf.tokenizer.convert_tokens_to_ids(list(reading.tokens))
        mapped = np.einsum("lij,lj->li", affine.matrices, state[:-1, 0]) + affine.offsets
        with torch.no_grad():
            normed = anatomy.final_norm(hf.model, "decoder")(torch.from_numpy(mapped.astype(np.float32)))
            expected = hf.model.get_output_embeddings()(normed).log_softmax(-1).numpy()[:, ids]
        np.testing.assert_allclose(reading.logprobs[:-1], expected, atol=1e-4)


def test_the_decoder_is_read_along_an_answer_as_transformers_reads_it(model):
    found = token_states(model, PROMPTS, answers=ANSWERS, stack="decoder").arrays
    hf = load(model.name, device="cpu", store=model.store).hf
    for prompt, answer, states in zip(PROMPTS, ANSWERS, found, strict=True):
        ids = hf.tokenizer(prompt)["input_ids"]
        rest = hf.tokenizer(answer, add_special_tokens=False)["input_ids"] if answer else []
        with torch.no_grad():
            if model.is_encoder_decoder:
                out = hf.model(
                    input_ids=torch.tensor([ids]),
                    decoder_input_ids=torch.tensor([[0, *rest]]),
                    output_hidden_states=True,
                ).decoder_hidden_states
            else:
                out = hf.model(torch.tensor([ids + rest]), output_hidden_states=True).hidden_states
        np.testing.assert_allclose(states[:-1], torch.cat(out[:-1]).numpy(), atol=1e-4)
    with pytest.raises(BadInput, match="as many"):
        token_states(model, PROMPTS, answers=["a"])
    with pytest.raises(BadInput, match="answers are read by the decoder"):
        token_states(model, PROMPTS, answers=ANSWERS, stack="encoder")


def test_readings_through_different_maps_are_stored_apart_and_found_again(model, monkeypatch):
    one, two = drawn(model), drawn(model, seed=1)
    first, second, plain = read(model, one), read(model, two), read(model)
    again = load(model.name, device="cpu", store=model.store)
    monkeypatch.setattr(type(model), "fresh_engine", lambda _: pytest.fail("read the weights again"))
    for asked, before in ((AffineLens.from_json(one.as_json()), first), (two, second), (None, plain)):
        for now, then in zip(read(again, asked), before, strict=True):
            np.testing.assert_array_equal(now.logprobs, then.logprobs)
    assert not same(first, second, 0)


def test_a_lens_of_another_model_and_shapes_that_do_not_fit_are_refused(model):
    depth, width = shape(model)
    with pytest.raises(BadInput, match="fit one for this model"):
        read(model, AffineLens(np.zeros((depth + 1, width, width)), np.zeros((depth + 1, width))))
    with pytest.raises(BadInput, match=r"\(L, D, D\)"):
        AffineLens(np.zeros((2, 3, 4)), np.zeros((2, 3)))
    with pytest.raises(BadInput, match="eight pairs"):
        affine_lens.fit(model, [("a", "b")])


@pytest.mark.parametrize("side", ["bloom", "mt5"])
def test_a_planted_rotation_is_undone(side, tmp_path):
    """Between two blocks every concept stands in the next one's direction: the logit lens reads the wrong word, the affine lens the right."""
    concepts = organism.concepts()
    where = organism.build(side, tmp_path / "model", is_turned=True)
    model = load(where, device="cpu", store=Store(tmp_path / "store.sqlite"))
    pairs = affine_lens.balanced_pairs(concepts, each=48)
    fitted = affine_lens.fit(model, pairs).lens
    prompts = [concepts.prompt("word", f"c{n}", "aa", "bb").text for n in range(COUNT)]
    words = [[f"{code}{(n + k) % COUNT}" for k in (0, 1) for code in LANGUAGES] for n in range(COUNT)]
    right, turned = range(len(LANGUAGES)), range(len(LANGUAGES), 2 * len(LANGUAGES))
    for affine, good, bad in ((None, turned, right), (fitted, right, turned)):
        found = lens(model, prompts, words, affine=affine, progress=False)
        assert min(one.mass(good)[CONCEPT] for one in found) > 0.5
        assert max(one.mass(bad)[CONCEPT] for one in found) < 0.1
        assert min(one.mass(right)[-1] for one in found) > 0.6


@pytest.mark.parametrize("name", ["mini-bloomz", "mini-mt0"])
def test_on_sentences_not_seen_it_is_closer_to_the_output_than_the_logit_lens(name, tmp_path):
    every = read_concepts("miniature", ["x-en", "x-fr", "x-id", "x-es"])
    frames = sorted(every.frames)
    seen, unseen = (
        replace(every, frames={key: every.frames[key] for key in part}) for part in (frames[6:], frames[:6])
    )
    model = load(name, device="cpu", store=Store(tmp_path / "store.sqlite"))
    fitted = affine_lens.fit(model, affine_lens.balanced_pairs(seen, each=45), penalties=[1e-2, 1.0])
    assert (fitted.divergence["affine"] <= fitted.divergence["logit"]).all()
    pairs = affine_lens.balanced_pairs(unseen, each=12, seed=1)
    prompts, words = [prompt for prompt, _ in pairs], [["a"]] * len(pairs)
    space = "" if model.is_encoder_decoder else " "
    begun = [space + " ".join(answer.split(" ")[: 1 + n % 3]) for n, (_, answer) in enumerate(pairs)]
    worse = AffineLens(-fitted.lens.matrices, fitted.lens.offsets)  # the twin
    plain, mapped, wrong = (
        np.mean(
            [
                one.kl
                for one in lens(model, prompts, words, answers=begun, affine=each, top=1, progress=False)
            ],
            axis=0,
        )
        for each in (None, fitted.lens, worse)
    )
    assert (mapped <= plain + 1e-6).all()
    assert (mapped[1:-1] < 0.7 * plain[1:-1]).all()
    assert (wrong[:-1] > mapped[:-1]).all()


def test_what_is_fitted_on_is_not_what_is_asked_about():
    codes = ["en", "fr", "de", "sw"]
    every, few = read_concepts("lexicon", codes), read_concepts("lexicon", codes, limit=12)
    rest = every.without(few)
    assert few.words.keys() <= every.words.keys()
    assert not rest.words.keys() & few.words.keys()
    assert len(rest.words) + len(few.words) == len(every.words)
    world = ["x-en", "x-fr", "x-id", "x-zh"]
    every, few = read_concepts("miniature", world), read_concepts("miniature", world, limit=6)
    rest = every.without(few)
    assert rest.words == every.words
    assert rest.frames.keys() == every.frames.keys() - few.frames.keys()
