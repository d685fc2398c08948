"""Hidden states: equal transformers' own, whatever the batch; encoder and decoder apart; cached = fresh."""

import numpy as np
import pytest
import torch

from workbench.engines.transformers import states as reader
from workbench.errors import BadInput
from workbench.inference.states import hidden_states
from workbench.models import load
from workbench.store import Store

TEXTS = ["The cat sat on the mat.", "Le chat", "猫坐在垫子上。" * 3]


def own_states(model, text, stack):
    engine = model.engine
    ids = engine.tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids
    with torch.inference_mode():
        if not engine.is_encoder_decoder:
            return engine.model(input_ids=ids, output_hidden_states=True).hidden_states
        out = engine.model(input_ids=ids, decoder_input_ids=torch.tensor([[0]]), output_hidden_states=True)
        return out.encoder_hidden_states if stack == "encoder" else out.decoder_hidden_states


@pytest.mark.parametrize("pooling", ["mean", "weighted", "last"])
@pytest.mark.parametrize("stack", [None, "decoder"])
def test_they_equal_transformers_own_one_text_at_a_time(model, pooling, stack):
    states = hidden_states(model, TEXTS, stack=stack, pooling=pooling)
    for text, found in zip(TEXTS, states.array, strict=True):
        layers = own_states(model, text, states.stack)
        assert states.layers == len(layers) == 3
        for layer, vector in zip(layers, found, strict=True):
            weights = {
                "mean": torch.ones(layer.shape[1]),
                "weighted": torch.arange(1.0, layer.shape[1] + 1),
            }.get(pooling)
            expected = layer[0, -1] if weights is None else (weights / weights.sum()) @ layer[0]
            np.testing.assert_allclose(vector, expected.numpy(), rtol=1e-4, atol=1e-4)


def test_pooling_and_stack_are_in_the_key_and_a_second_call_asks_no_engine(model):
    first = hidden_states(model, TEXTS)
    assert not np.allclose(first.array, hidden_states(model, TEXTS, pooling="last").array)
    again = load(model.name, device="cpu", store=model.store)
    np.testing.assert_array_equal(hidden_states(again, TEXTS[::-1]).array, first.array[::-1])
    assert "engine" not in vars(again)


def test_encoder_and_decoder_are_apart(checkpoints, store):
    model = load(str(checkpoints["mt5"]), device="cpu", store=store)
    assert not np.allclose(
        hidden_states(model, TEXTS).array, hidden_states(model, TEXTS, stack="decoder").array
    )
    with pytest.raises(BadInput, match="has no encoder"):
        hidden_states(load(str(checkpoints["bloom"]), store=store), TEXTS, stack="encoder")


def test_states_do_not_depend_on_the_tokens_that_are_read_at_once(model, store, monkeypatch):
    sizes = []
    read = reader._read_batch
    monkeypatch.setattr(reader, "_read_batch", lambda *args: sizes.append(len(args[1])) or read(*args))
    together = hidden_states(model, TEXTS).array
    for tokens, batches in ((1, [1, 1, 1]), (10_000, [3])):
        sizes.clear()
        again = load(model.name, device="cpu", store=Store(store.path.with_name(f"{tokens}.sqlite")))
        found = hidden_states(again, TEXTS, batch_tokens=tokens).array
        np.testing.assert_allclose(found, together, rtol=1e-4, atol=1e-4)
        assert sizes == batches
    with pytest.raises(BadInput, match="batch_tokens=0"):
        hidden_states(model, TEXTS, batch_tokens=0)


def test_random_weights_give_other_states(model):
    twin = load(model.name, device="cpu", random_seed=7, store=model.store)
    assert hidden_states(twin, TEXTS).array.shape == hidden_states(model, TEXTS).array.shape
    assert not np.allclose(hidden_states(twin, TEXTS).array, hidden_states(model, TEXTS).array)


@pytest.mark.parametrize("texts", [[], ["fine", " "], ["word " * 300]])
def test_bad_texts_are_refused(model, texts):
    with pytest.raises(BadInput):
        hidden_states(model, texts)


def test_an_unknown_pooling_stack_or_a_bare_string_is_refused(model):
    with pytest.raises(BadInput, match="pooling is one of"):
        hidden_states(model, TEXTS, pooling="max")
    with pytest.raises(BadInput, match="stack one of"):
        hidden_states(model, TEXTS, stack="middle")
    with pytest.raises(BadInput, match="list of texts"):
        hidden_states(model, TEXTS[0])
