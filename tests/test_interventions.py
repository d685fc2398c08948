"""Interventions: what is patched in is what was read, they equal hooks written by hand, and they never pass for the model's own answers."""

import numpy as np
import pytest
import torch

from workbench import Intervention, Item, generate, hidden_states, load, rank, score, token_states
from workbench.engines.transformers import anatomy
from workbench.errors import BadInput
from workbench.store import Store

PROMPTS = ["The cat sat on the mat.", "猫坐在垫子上。你好吗？", "Paka"]
TEXTS = [" yes", " no, maybe", " 猫"]


@pytest.fixture(params=["bloom", "mt5"])
def model(request, checkpoints, tmp_path):
    return load(str(checkpoints[request.param]), device="cpu", store=Store(tmp_path / "store.sqlite"))


def reading(model):
    return "encoder" if model.is_encoder_decoder else "decoder"


def logprobs(model, prompts, texts):
    return [np.array(found.logprobs, float) for found in score(model, texts, prompts=prompts, progress=False)]


def numbers(model, prompts=PROMPTS):
    return np.concatenate(logprobs(model, prompts, TEXTS[: len(prompts)]))


def width(model):
    return token_states(model, PROMPTS[:1]).arrays[0].shape[-1]


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_adding_nothing_changes_nothing(model):
    nothing = Intervention("add", (0, 1, 2), np.zeros(width(model)), stack=reading(model))
    same = model.intervened(nothing)
    np.testing.assert_allclose(numbers(same), numbers(model), atol=1e-4)
    assert generate(same, PROMPTS, max_new_tokens=4) == generate(model, PROMPTS, max_new_tokens=4)
    np.testing.assert_allclose(
        hidden_states(same, PROMPTS).array, hidden_states(model, PROMPTS).array, atol=1e-5
    )
    something = Intervention("add", (1,), 3 * drawn(width(model)), stack=reading(model))
    assert np.abs(numbers(model.intervened(something)) - numbers(model)).max() > 0.01


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_what_is_read_can_be_patched_in(model, layer):
    """All states of a source at one layer make the target answer as the source does, if they have equally many tokens."""
    source, target = PROMPTS[0], PROMPTS[0].replace("cat", "mat")
    stack = reading(model)
    pair = token_states(model, [source, target]).arrays
    assert pair[0].shape == pair[1].shape
    length = pair[0].shape[1]
    patch = Intervention("patch", (layer,), pair[0][layer : layer + 1], stack, tuple(range(length)))
    patched, plain, other = (
        logprobs(it, [prompt], [" y"])[0]
        for it, prompt in ((model.intervened(patch), target), (model, source), (model, target))
    )
    np.testing.assert_allclose(patched[0], plain[0], atol=1e-4)
    assert abs(patched[0] - other[0]) > 1e-3


def test_the_batch_and_the_padding_change_nothing(model):
    """Interventions of single prompts, at their last place, in one batch, equal one handle for each."""
    vectors = drawn(len(PROMPTS), width(model))
    made = [
        Intervention("patch", (1,), vector[None], stack=reading(model), positions="last", prompts=(prompt,))
        for prompt, vector in zip(PROMPTS, vectors, strict=True)
    ]
    together = model.intervened(*made)
    alone = [model.intervened(each) for each in made]
    for number, (prompt, it) in enumerate(zip(PROMPTS, alone, strict=True)):
        one = logprobs(it, [prompt], [TEXTS[number]])[0]
        every = logprobs(together, PROMPTS, TEXTS)[number]
        np.testing.assert_allclose(one, every, atol=1e-4)
        assert generate(it, [prompt], max_new_tokens=5) == [
            generate(together, PROMPTS, max_new_tokens=5)[number]
        ]
    swapped = model.intervened(*[made[0], made[2]])
    plain = logprobs(model, [PROMPTS[1]], [TEXTS[1]])[0]
    np.testing.assert_allclose(logprobs(swapped, PROMPTS, TEXTS)[1], plain, atol=1e-4)


def test_generation_equals_that_of_hooks_written_by_hand(model):
    """Each prompt alone in transformers' `generate`, the same addition by hooks of torch, in every stack."""
    twin = load(model.name, device="cpu", store=model.store).hf
    for stack in {reading(model), "decoder"}:
        vector = 2 * drawn(width(model))
        it = model.intervened(Intervention("add", (1, 2), vector, stack=stack))
        found = generate(it, PROMPTS, max_new_tokens=3, min_new_tokens=3)
        assert found != generate(model, PROMPTS, max_new_tokens=3, min_new_tokens=3)
        hooks = [block.register_forward_hook(adding(vector)) for block in anatomy.blocks(twin.model, stack)]
        for prompt, answer in zip(PROMPTS, found, strict=True):
            read = twin.tokenizer(prompt, return_tensors="pt")
            ids = twin.model.generate(**read, max_new_tokens=3, min_new_tokens=3, do_sample=False)[0]
            new = ids[1:] if model.is_encoder_decoder else ids[read["input_ids"].shape[1] :]
            assert twin.tokenizer.decode(new, skip_special_tokens=True) == answer.text
        for hook in hooks:
            hook.remove()


def adding(vector):
    return lambda _, __, output: (output[0] + torch.from_numpy(vector), *output[1:])


def test_erasing_is_a_projection_and_ablation_sets_neurons(model):
    basis = np.linalg.qr(drawn(width(model), 2))[0].T
    center = drawn(width(model), seed=3)
    stack = reading(model)
    erased = model.intervened(Intervention("erase", (1,), basis, stack=stack, center=center))
    before, after = (token_states(it, PROMPTS).arrays[0] for it in (model, erased))
    np.testing.assert_allclose((after[1] - center) @ basis.T, 0, atol=1e-4)
    np.testing.assert_allclose(after[1] - before[1], -((before[1] - center) @ basis.T) @ basis, atol=1e-4)
    twice = model.intervened(*erased.interventions, *erased.interventions)
    np.testing.assert_allclose(numbers(twice), numbers(erased), atol=1e-4)
    silent = model.intervened(Intervention("ablate", (2,), [0.0, 1.5], stack=stack, neurons=(3, 0)))
    neurons = token_states(silent, PROMPTS, of="neurons").arrays[0]
    np.testing.assert_array_equal(neurons[1][:, [3, 0]], [[0.0, 1.5]] * len(neurons[1]))
    assert np.abs(token_states(model, PROMPTS, of="neurons").arrays[0][1][:, [3, 0]] - [0.0, 1.5]).max() > 0


def test_it_equals_hooks_written_by_hand(model):
    """The same addition by a hook of torch on the block, in transformers' own forward."""
    vector, stack = 2 * drawn(width(model)), reading(model)
    found = logprobs(model.intervened(Intervention("add", (1,), vector, stack=stack)), PROMPTS[:1], [" y"])[0]
    twin = load(model.name, device="cpu", store=model.store).hf
    block = anatomy.blocks(twin.model, stack)[0]
    hook = block.register_forward_hook(adding(vector))
    ids = twin.tokenizer(PROMPTS[0], return_tensors="pt")["input_ids"]
    text = twin.tokenizer(" y", return_tensors="pt", add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        if model.is_encoder_decoder:
            start = torch.full((1, 1), twin.model.config.decoder_start_token_id)
            logits = twin.model(input_ids=ids, decoder_input_ids=torch.cat([start, text], 1)).logits[0]
        else:
            logits = twin.model(torch.cat([ids, text], 1)).logits[0, ids.shape[1] - 1 :]
    hook.remove()
    expected = logits.log_softmax(-1)[torch.arange(text.shape[1]), text[0]]
    np.testing.assert_allclose(found[: text.shape[1]], expected.numpy(), atol=1e-4)


def test_answers_are_stored_apart_and_found_again(model, monkeypatch):
    made = Intervention("add", (1,), drawn(width(model)), stack=reading(model))
    plain, changed = numbers(model), numbers(model.intervened(made))
    again = load(model.name, device="cpu", store=model.store)
    monkeypatch.setattr(type(model), "fresh_engine", lambda self: pytest.fail("read the weights again"))
    np.testing.assert_array_equal(numbers(again.intervened(Intervention(**vars(made)))), changed)
    np.testing.assert_array_equal(numbers(again), plain)
    assert Intervention.from_json(made.as_json()).digest == made.digest
    others = [
        Intervention("add", (2,), made.array, stack=made.stack),
        Intervention("add", (1,), made.array * 1.001, stack=made.stack),
        Intervention("add", (1,), made.array, stack=made.stack, positions="last"),
        Intervention("add", (1,), made.array, stack=made.stack, prompts=("x",)),
    ]
    assert len({each.digest for each in [made, *others]}) == 5


def test_ranking_and_pooled_states_see_it(model):
    items = [Item(str(number), prompt, ("yes", "no"), 0) for number, prompt in enumerate(PROMPTS)]
    made = Intervention("add", (0,), 4 * drawn(width(model)), stack=reading(model))
    it = model.intervened(made)
    assert not np.allclose(
        rank(it, items)["scores"].tolist(), rank(model, items)["scores"].tolist(), atol=1e-3
    )
    moved = hidden_states(it, PROMPTS).array[:, 0] - hidden_states(model, PROMPTS).array[:, 0]
    np.testing.assert_allclose(moved, np.broadcast_to(made.array, moved.shape), atol=1e-4)
    assert np.isfinite(token_states(model, PROMPTS, of="neurons", positions=[[0, -1]] * 3).arrays[2]).all()


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"kind": "push"}, "kind"),
        ({"layers": (3,)}, "layers 0 to 2"),
        ({"array": np.zeros(7)}, "wide"),
        ({"array": [np.nan] * 32}, "finite"),
        ({"positions": "first"}, "positions"),
        ({"stack": "encoder"}, "encoder|tokens"),
        ({"kind": "ablate"}, "shape"),
        ({"of": "cross_attention", "layers": (0,)}, "blocks from 1"),
        ({"of": "neurons"}, "of='neurons'"),
        ({"kind": "ablate", "neurons": (10**6,), "array": [0.0]}, "neuron"),
        ({"kind": "patch", "array": np.zeros((1, 32)), "positions": (99,), "stack": "encoder"}, "encoder|tokens"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_a_sentence(model, fields, says):
    plain = {"kind": "add", "layers": (1,), "array": np.zeros(width(model))}
    if fields.get("stack") and model.is_encoder_decoder and "positions" not in fields:
        return
    with pytest.raises(BadInput, match=says):
        numbers(model.intervened(Intervention(**{**plain, **fields})))


def test_more_refusals(model, checkpoints):
    made = Intervention("add", (1,), np.zeros(width(model)))
    it = model.intervened(made)
    with pytest.raises(BadInput, match="num_beams"):
        generate(it, PROMPTS, max_new_tokens=2, num_beams=2)
    with pytest.raises(BadInput, match="hf"):
        _ = it.hf
    with pytest.raises(BadInput, match="Intervention"):
        model.intervened()
    with pytest.raises(BadInput, match="trained"):
        it.fresh_engine()
    with pytest.raises(BadInput, match="positions"):
        token_states(model, PROMPTS, positions=[[99]] * 3)
    with pytest.raises(BadInput, match="one of states, neurons"):
        token_states(model, PROMPTS, of="attention")


def test_the_decoder_behind_an_encoder(checkpoints, tmp_path):
    model = load(str(checkpoints["mt5"]), device="cpu", store=Store(tmp_path / "store.sqlite"))
    seen = token_states(model, PROMPTS, stack="decoder").arrays
    added = token_states(model, PROMPTS, stack="decoder", of="cross_attention").arrays
    assert seen[0].shape[:2] == (3, 1)
    assert added[0].shape[:2] == (2, 1)
    into = Intervention(
        "patch", (2,), added[0][1], positions="last", prompts=(PROMPTS[1],), of="cross_attention"
    )
    read = token_states(model.intervened(into), PROMPTS, stack="decoder", of="cross_attention").arrays
    np.testing.assert_allclose(read[1][1], added[0][1], atol=1e-6)
    np.testing.assert_allclose(read[2], added[2], atol=1e-5)
    assert Intervention.from_json(into.as_json()).digest == into.digest
    patch = Intervention("patch", (1,), seen[0][1], positions="last", prompts=(PROMPTS[1],))
    after = token_states(model.intervened(patch), PROMPTS, stack="decoder").arrays
    np.testing.assert_allclose(after[1][1], seen[0][1], atol=1e-6)
    np.testing.assert_allclose(after[0], seen[0], atol=1e-5)
