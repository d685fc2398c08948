"""What `model.hf` hands out never writes to the store, whatever is done to it; and one engine serves one thread at a time."""

import threading

import pytest
import torch

from workbench.errors import BadInput
from workbench.inference.generation import generate
from workbench.inference.ranking import rank
from workbench.inference.scoring import score
from workbench.inference.states import hidden_states
from workbench.models import load
from workbench.store import Store
from workbench.tasks import Item

TEXTS = ["The cat sat on the mat.", "Le chat"]
ITEMS = [Item("x", "Le chat", ("yes", "no"), 0)]
CALLS = [
    lambda model: generate(model, TEXTS, max_new_tokens=3),
    lambda model: score(model, TEXTS),
    lambda model: rank(model, ITEMS),
    lambda model: hidden_states(model, TEXTS),
]


def blocks(model):
    return model.decoder.block if model.config.is_encoder_decoder else model.transformer.h


def norm(model):
    return (model.decoder if model.config.is_encoder_decoder else model.transformer).get_submodule(
        "final_layer_norm" if model.config.is_encoder_decoder else "ln_f"
    )


def replace_block(hf):
    blocks(hf.model)[0] = type(blocks(hf.model)[0])(hf.model.config).eval()


def exchange_rows(table):
    table[[3, 4]] = table[[4, 3]]


def edit(tensor, change):
    with torch.no_grad():
        change(tensor)


CHANGES = {
    "a hook": lambda hf: blocks(hf.model)[1].register_forward_hook(lambda module, given, out: out),
    "a hook before": lambda hf: blocks(hf.model)[1].register_forward_pre_hook(lambda module, given: None),
    "an edit in place": lambda hf: edit(norm(hf.model).weight, lambda weight: weight.mul_(2)),
    "one weight": lambda hf: edit(
        hf.model.get_input_embeddings().weight, lambda weight: weight[7, 5].add_(1)
    ),
    "two rows exchanged": lambda hf: exchange_rows(hf.model.get_input_embeddings().weight.data),
    "data assigned": lambda hf: setattr(norm(hf.model).weight, "data", torch.zeros(32)),
    "data edited": lambda hf: norm(hf.model).weight.data.zero_(),
    "numpy": lambda hf: norm(hf.model).weight.detach().numpy().fill(0.5),
    "a module replaced": replace_block,
    "a forward of its own": lambda hf: setattr(hf.model, "forward", hf.model.forward),
    "training": lambda hf: hf.model.train(),
    "dropout": lambda hf: hf.model.requires_grad_() and blocks(hf.model)[0].train(),
    "config": lambda hf: setattr(hf.model.config, "decoder_start_token_id", 5),
    "generation_config": lambda hf: setattr(hf.model.generation_config, "suppress_tokens", [3]),
    "tokenizer": lambda hf: hf.tokenizer.add_tokens(["<new>"]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_answers_of_a_changed_model_are_refused_and_never_stored(model, change):
    """A hook that zeroed a block was once removed again, and its answer came back from the store for ever."""
    stored = generate(model, TEXTS[:1], max_new_tokens=3)
    CHANGES[change](model.hf)
    for call in CALLS:
        with pytest.raises(BadInput, match=r"was changed through model\.hf"):
            call(model)
    assert generate(model, TEXTS[:1], max_new_tokens=3) == stored
    assert model.store.info()["answers"] == 1
    fresh = load(model.name, device="cpu", store=model.store)
    for call in CALLS:
        call(fresh)


def test_use_without_a_change_costs_no_answer_and_no_second_copy(model):
    """The twin: reading states, gradients, sampling and tokenizing with padding change nothing."""
    hf = model.hf
    batch = hf.tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt")
    batch.pop("token_type_ids", None)
    loss = hf.model(**batch, labels=batch["input_ids"]).loss
    loss.backward()
    hf.model.zero_grad()
    hf.model.generate(**batch, max_new_tokens=3, do_sample=True)
    handle = blocks(hf.model)[0].register_forward_hook(lambda module, given, out: out)
    handle.remove()
    engine = model.engine
    for call in CALLS:
        call(model)
    assert generate(model, TEXTS, max_new_tokens=3, num_beams=2)
    assert model.engine is engine is hf


def test_a_change_that_is_undone_is_no_change(model):
    weight = norm(model.hf.model).weight
    edit(weight, lambda each: each.mul_(2))
    with pytest.raises(BadInput, match="undo the change"):
        score(model, TEXTS)
    edit(weight, lambda each: each.div_(2))
    assert score(model, TEXTS)


def test_a_thread_waits_for_the_engine_and_answers_then(model):
    """Two threads once worked one model and its tokenizer at a time."""
    found = []
    elsewhere = load(model.name, device="cpu", store=Store(model.store.path.with_name("other")))
    vars(elsewhere)["engine"] = model.engine
    thread = threading.Thread(target=lambda: found.append(score(elsewhere, TEXTS)))
    with model.computing():
        thread.start()
        thread.join(0.3)
        assert not found
    thread.join()
    assert found == [score(model, TEXTS)]


def test_two_threads_read_the_weights_once(model, monkeypatch):
    made, make = [], type(model).fresh_engine
    monkeypatch.setattr(type(model), "fresh_engine", lambda self: made.append(make(self)) or made[-1])
    threads = [threading.Thread(target=lambda: model.engine) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [model.engine]
