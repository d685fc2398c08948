"""A model that does not fit into memory is refused, or offloaded to the disk in part if asked to, and answers as one that fits."""

import warnings

import numpy as np
import pytest

from workbench import Item, generate, hidden_states, load, rank
from workbench.engines.transformers import placement
from workbench.errors import BadInput
from workbench.models import memory
from workbench.models.memory import bytes_of_weights
from workbench.store import Store

TEXTS = ["The cat sat on the mat.", "Le chat"]
ITEMS = [Item("1", TEXTS[0], ("yes", "no, maybe")), Item("2", TEXTS[1], ("a", "Le chat"))]


def short_of_memory(monkeypatch, handle, share):
    room = int(share * bytes_of_weights(handle.identity, handle.dtype))
    for place in (placement, memory):
        monkeypatch.setattr(place, "free_memory", lambda *_, **__: room)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_offloaded_model_answers_as_one_in_memory(model, monkeypatch, tmp_path, dtype):
    whole, elsewhere = (
        load(model.name, device=device, dtype=dtype, store=Store(tmp_path / device))
        for device in ("cpu", "offload")
    )
    short_of_memory(monkeypatch, elsewhere, 0.85)
    with pytest.warns(
        UserWarning, match=r"does not fit: \d+ of its \d+ parts are on the disk .*'8bit' or '4bit'"
    ):
        assert elsewhere.engine.model.device.type == "cpu"
    assert any(each.is_meta for each in elsewhere.engine.model.parameters())
    monkeypatch.undo()
    near = 1e-4 if dtype == "float32" else 0.6
    scores = [
        np.concatenate(rank(each, ITEMS, exact=True, progress=False)["scores"]) for each in (whole, elsewhere)
    ]
    assert np.abs(scores[0] - scores[1]).max() < near
    if dtype == "float32":
        texts = [[one.text for one in generate(each, TEXTS, max_new_tokens=5)] for each in (whole, elsewhere)]
        assert texts[0] == texts[1]
        states = [hidden_states(each, TEXTS).array for each in (whole, elsewhere)]
        assert np.allclose(*states, atol=1e-4)


@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_nothing_is_offloaded_unless_asked_for(model, monkeypatch, device):
    """Whether it was depended on which of two limits a model met first: the forecast's or that of the placement."""
    handle = load(model.name, device=device, store=model.store)
    short_of_memory(monkeypatch, handle, 0.85)
    with pytest.raises(
        BadInput, match=r"are free; .*with device='offload' the rest of it is read from the disk"
    ):
        generate(handle, TEXTS, max_new_tokens=2)
    assert placement.placement(device, handle.identity, "float32", None) == {}


def test_a_model_as_a_whole_on_the_disk_is_refused(model, monkeypatch):
    handle = load(model.name, device="offload", store=model.store)
    short_of_memory(monkeypatch, handle, 0.05)
    with pytest.raises(BadInput, match="would be offloaded to disk entirely; bfloat16, or quantization="):
        generate(handle, TEXTS, max_new_tokens=2)


def test_what_cannot_lie_on_the_disk_is_refused_under_offload_too(model, monkeypatch):
    short_of_memory(monkeypatch, model, 0.85)
    for options in ({"quantization": "8bit"}, {"random_seed": 0}):
        handle = load(model.name, device="offload", store=model.store, **options)
        with pytest.raises(BadInput, match=r"are free; (what fits|let other)[^;]*$"):
            handle.fresh_engine()


def test_twin_with_enough_memory_nothing_is_offloaded_or_said(model, monkeypatch):
    model = load(model.name, device="offload", store=model.store)
    monkeypatch.setattr(memory, "free_memory", lambda *_, **__: 1)  # not asked under "offload"
    room = int(1.2 * bytes_of_weights(model.identity, model.dtype))
    monkeypatch.setattr(placement, "free_memory", lambda device: room)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        generate(model, TEXTS, max_new_tokens=2)
    assert placement.places(model.engine.model) == set()
