"""Weights that give no numbers: every answer is refused in one sentence, and nothing of it is stored."""

import pytest

from workbench.errors import BadInput
from workbench.inference.generation import generate
from workbench.inference.ranking import rank
from workbench.inference.scoring import score
from workbench.inference.states import hidden_states
from workbench.models import load
from workbench.store import Store
from workbench.tasks import Item

TEXTS = ["The cat sat on the mat.", "Le chat"]
CALLS = {
    "logits": lambda model: generate(model, TEXTS, max_new_tokens=3),
    "logits ": lambda model: generate(model, TEXTS, max_new_tokens=3, num_beams=2),
    "logits  ": lambda model: generate(model, TEXTS, max_new_tokens=3, do_sample=True, seed=0, samples=2),
    "log-probabilities": lambda model: score(model, TEXTS),
    "log-probabilities ": lambda model: score(model, TEXTS, exact=True),
    "log-probabilities  ": lambda model: rank(model, [Item("x", "Le chat", ("a", "b"), 0)]),
    "hidden states": lambda model: hidden_states(model, TEXTS),
}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("what", CALLS)
def test_no_answer_is_made_of_nan(model, what, value):
    """A text was once empty, states were stored as NaN, and ranking ended in an error of JSON's."""
    assert CALLS[what](model) is not None  # the twin: whole weights answer
    stored = model.store.info()["answers"]
    damaged = load(model.name, device="cpu", store=Store(model.store.path.with_name("other")))
    for name, module in damaged.engine.model.named_modules():
        if name.endswith(("ln_f", "final_layer_norm")):
            module.weight.data.fill_(value)
    with pytest.raises(BadInput, match=f"the model's {what.strip()} are not finite"):
        CALLS[what](damaged)
    assert (damaged.store.info()["answers"], model.store.info()["answers"]) == (0, stored)
