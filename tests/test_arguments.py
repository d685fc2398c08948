"""One door for what callers hand in: any iterable, read once; what is no text or number is refused in one sentence."""

import numpy as np
import pandas as pd
import pytest

from workbench.errors import BadInput
from workbench.inference.generation import generate
from workbench.inference.ranking import rank
from workbench.inference.scoring import score
from workbench.inference.states import hidden_states
from workbench.models import load
from workbench.tasks import Item

TEXTS = ["The cat sat on the mat.", "Le chat"]
FORMS = {
    "generator": lambda texts: (text for text in texts),
    "iterator": iter,
    "tuple": tuple,
    "keys of a dict": lambda texts: dict.fromkeys(texts).keys(),
    "Series": pd.Series,
    "Series of pandas' strings": lambda texts: pd.Series(texts, dtype="string"),
    "numpy": np.array,
    "numpy objects": lambda texts: np.array(texts, dtype=object),
}


def answers(model, make):
    """What all four give; `make` hands in the same texts each time."""
    items = [Item(text, text, ("yes", "no"), 0) for text in TEXTS]
    return (
        generate(model, make(TEXTS), max_new_tokens=3),
        [each.logprobs for each in score(model, make(TEXTS), prompts=make(TEXTS))],
        rank(model, iter(items) if make is not pd.Series else items)["scores"].tolist(),
        hidden_states(model, make(TEXTS)).array.tolist(),
    )


@pytest.mark.parametrize("form", FORMS)
def test_any_iterable_gives_what_a_list_gives(model, form):
    """A generator once gave no answers at all: the check had read it to its end."""
    expected = answers(model, list)
    assert len(expected[0]) == len(expected[2]) == len(TEXTS)
    assert answers(model, FORMS[form]) == expected


CALLS = {
    "prompt": lambda model, texts: generate(model, texts, max_new_tokens=3),
    "text": score,
    "text ": hidden_states,
    "prompt ": lambda model, texts: score(model, ["a"] * 2, prompts=texts),
}


@pytest.mark.parametrize("one", CALLS)
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("x \ud83d y", r"1 has a lone surrogate, '\\ud83d', at character 2"),
        (None, "1 is None, a NoneType"),
        (3, "1 is 3, a int"),
        (float("nan"), "1 is nan, a float"),
        (b"bytes", "1 is b'bytes'"),
        (["nested"], "1 is .*a list"),
    ],
)
def test_what_is_no_text_is_named_by_its_number_and_nothing_is_stored(model, one, bad, message):
    with pytest.raises(BadInput, match=f"{one.strip()} {message}"):
        CALLS[one](model, ["fine", bad])
    assert model.store.info()["answers"] == 0
    assert "engine" not in vars(model)


@pytest.mark.parametrize("one", CALLS)
@pytest.mark.parametrize("bad", ["one string", b"bytes", 5, None, {"a": "b"}, pd.DataFrame({"text": TEXTS})])
def test_what_is_no_list_is_refused(model, one, bad):
    if bad is None and one == "prompt ":
        pytest.skip("no prompts are allowed there")
    with pytest.raises(BadInput, match="give a list of texts"):
        CALLS[one](model, bad)


def test_items_too_are_read_once_and_a_table_is_no_list_of_items(model):
    with pytest.raises(BadInput, match="items is a DataFrame"):
        rank(model, pd.DataFrame({"prompt": TEXTS}))
    with pytest.raises(BadInput, match="items is None"):
        rank(model, None)


SAMPLING = {"do_sample": True, "seed": 0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({**SAMPLING, "temperature": float("nan")}, "temperature=nan"),
        ({**SAMPLING, "temperature": float("inf")}, "temperature=inf"),
        ({**SAMPLING, "temperature": 0}, "temperature=0.0; give a number above 0"),
        ({**SAMPLING, "top_p": float("nan")}, "top_p=nan; give a number above 0 and at most 1"),
        ({**SAMPLING, "top_p": "0.9"}, "top_p='0.9'"),
        ({**SAMPLING, "top_k": 2.5}, "top_k=2.5; give a whole number of at least 0"),
        ({"repetition_penalty": float("nan")}, "repetition_penalty=nan"),
        ({"num_beams": True}, "num_beams=True"),
        ({"max_new_tokens": "8"}, "max_new_tokens='8'"),
        ({"do_sample": "no"}, "do_sample='no'; give True or False"),
        *(({"do_sample": True, "seed": seed}, "seed=") for seed in (True, 1.5, "x")),
    ],
)
def test_settings_of_a_wrong_type_are_named(model, options, message):
    with pytest.raises(BadInput, match=message):
        generate(model, TEXTS, **{"max_new_tokens": 2, **options})


@pytest.mark.parametrize("seed", [True, 1.5, "x", -1])
def test_so_is_the_seed_of_random_weights(checkpoints, store, seed):
    with pytest.raises(BadInput, match="random_seed="):
        load(str(checkpoints["bloom"]), random_seed=seed, store=store)


def test_numbers_of_numpy_are_numbers_and_have_the_key_of_pythons(model):
    generate(model, TEXTS, max_new_tokens=3, do_sample=True, seed=1, temperature=2)
    same = {"max_new_tokens": np.int64(3), "seed": np.int32(1), "temperature": np.float64(2)}
    generate(model, np.array(TEXTS), do_sample=True, **same)
    assert (model.tally.hits, model.tally.misses) == (2, 2)
    gold = rank(model, [Item("x", "Le chat", ("a", "b"), np.int64(1))])["gold"][0]
    assert type(gold.item() if hasattr(gold, "item") else gold) is int
