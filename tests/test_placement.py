"""A model that does not fit into memory is offloaded to the disk in part, says so, and answers as one that fits."""

import warnings

import numpy as np
import pytest

from workbench import Item, generate, hidden_states, load, rank
from workbench.engines.transformers import placement
from workbench.errors import BadInput
from workbench.models.memory import bytes_of_weights
from workbench.store import Store

TEXTS = ["The cat sat on the mat.", "Le chat"]
ITEMS = [Item("1", TEXTS[0], ("yes", "no, maybe")), Item("2", TEXTS[1], ("a", "Le chat"))]


def short_of_memory(monkeypatch, handle, share):
    room = int(share * bytes_of_weights(handle.identity, handle.dtype))
    monkeypatch.setattr(placement, "free_memory", lambda device: room)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_offloaded_model_answers_as_one_in_memory(model, monkeypatch, tmp_path, dtype):
    whole, elsewhere = (
        load(model.name, device="cpu", dtype=dtype, store=Store(tmp_path / name))
        for name in ("whole", "elsewhere")
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


def test_a_model_as_a_whole_on_the_disk_is_refused(model, monkeypatch):
    short_of_memory(monkeypatch, model, 0.05)
    with pytest.raises(BadInput, match="would be offloaded to disk entirely; bfloat16, or quantization="):
        generate(model, TEXTS, max_new_tokens=2)


def test_twin_with_enough_memory_nothing_is_offloaded_or_said(model, monkeypatch):
    short_of_memory(monkeypatch, model, 1.2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        generate(model, TEXTS, max_new_tokens=2)
    assert placement.places(model.engine.model) == set()
