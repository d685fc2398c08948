"""The key holds the algorithm and the arithmetic; what a superseded algorithm answered is kept and not used."""

import json
from importlib.metadata import version

import pytest

from workbench.engines.transformers import SPEC, log_probabilities
from workbench.engines.transformers import engine as engines
from workbench.errors import NotReachable, StoreFailed
from workbench.inference.generation import generate
from workbench.inference.ranking import rank
from workbench.inference.scoring import score
from workbench.inference.states import hidden_states
from workbench.models import Model, load
from workbench.store import Store, canonical
from workbench.store.checking import check_store
from workbench.tasks import Item

TEXTS = ["The cat sat on the mat.", "Le chat"]
CALLS = {
    "generate": lambda model, **_: generate(model, TEXTS, max_new_tokens=3),
    "score": lambda model, **options: score(model, TEXTS, **options),
    "states": lambda model, **_: hidden_states(model, TEXTS),
}


def contexts(model):
    return [json.loads(context) for context in model.store.contexts()]


@pytest.mark.parametrize("kind", CALLS)
def test_another_algorithm_answers_anew_and_the_old_answers_stay(model, monkeypatch, kind):
    CALLS[kind](model)
    assert [context["algorithm"] for context in contexts(model)] == [SPEC.algorithms[kind]]
    monkeypatch.setitem(SPEC.algorithms, kind, SPEC.algorithms[kind] + 1)
    again = load(model.name, device="cpu", store=model.store)
    CALLS[kind](again)
    assert (again.tally.hits, again.tally.misses) == (0, 2)
    assert model.store.info()["answers"] == 4


@pytest.mark.parametrize("kind", CALLS)
def test_answers_from_before_there_were_versions_are_kept_and_not_used(model, kind):
    CALLS[kind](model)
    [context] = contexts(model)
    old = Store(model.store.path.with_name("old"))
    entries = [(question, value) for question, value, *_ in model.store.entries(canonical(context))]
    without = {name: value for name, value in context.items() if name not in ("algorithm", "arithmetic")}
    old.put(canonical(without), entries, device="cpu")
    asking = load(model.name, device="cpu", store=old)
    CALLS[kind](asking)
    assert (asking.tally.hits, asking.tally.misses, old.info()["answers"]) == (0, 2, 4)


IMPOSSIBLE = {
    "generate": {"text": "a", "token_count": -1, "finished": True},
    "score": {"tokens": ["a"], "logprobs": [0.5], "truncated": False},
    "states": b"no array",
}


@pytest.mark.parametrize("kind", CALLS)
def test_a_stored_answer_that_no_model_can_give_is_an_error_although_its_checksum_fits(model, kind):
    """A pack of somebody else's may be named in WORKBENCH_STORE, where no import checked it."""
    CALLS[kind](model)
    [context] = model.store.contexts()
    questions = [question for question, *_ in model.store.entries(context)]
    forged = Store(model.store.path.with_name("forged"))
    forged.put(context, [(question, IMPOSSIBLE[kind]) for question in questions], device="cpu")
    with pytest.raises(
        StoreFailed, match=rf"{forged.path} .*\({kind}\) that no model can produce: .*store check --repair"
    ):
        CALLS[kind](load(model.name, device="cpu", store=forged))
    assert len(check_store(forged, repair=True)) == len(questions)
    CALLS[kind](load(model.name, device="cpu", store=forged))  # computed again


def half(model, **options):
    return load(model.name, device="cpu", dtype="bfloat16", store=model.store, **options)


def arithmetic(monkeypatch, *, wide):
    for module in (engines, log_probabilities):
        monkeypatch.setattr(module, "better_wide", lambda model: wide)


def test_scores_computed_in_float32_of_half_precision_have_a_key_of_their_own(model, monkeypatch):
    """A processor without matrix units computes others than one with them, and one key once covered both."""
    arithmetic(monkeypatch, wide=True)
    first = half(model)
    wide = score(first, TEXTS)
    assert [context["arithmetic"] for context in contexts(model)] == ["wide"]
    score(first, TEXTS, exact=True)  # one sequence at a time goes through transformers, in the weights' own
    arithmetic(monkeypatch, wide=False)
    longer = half(model)
    native = score(longer, [*TEXTS, "More."])[:2]
    assert (longer.tally.hits, longer.tally.misses) == (0, 3)
    assert sorted(context["arithmetic"] for context in contexts(model)) == ["native", "native", "wide"]
    assert native != wide


@pytest.mark.parametrize("elsewhere", [True, False])
def test_answers_of_the_other_arithmetic_serve_where_the_store_has_all_of_them(model, monkeypatch, elsewhere):
    """A pack measured on a GPU is read on a laptop, which would compute otherwise, and computes nothing."""
    arithmetic(monkeypatch, wide=elsewhere)
    expected = score(half(model), TEXTS)
    arithmetic(monkeypatch, wide=not elsewhere)
    reading = half(model)
    assert score(reading, TEXTS) == expected
    assert (reading.tally.hits, reading.tally.misses, "engine" in vars(reading)) == (2, 0, False)


def test_without_weights_only_what_the_store_lacks_is_named(model, monkeypatch):
    arithmetic(monkeypatch, wide=False)
    score(half(model), TEXTS)
    arithmetic(monkeypatch, wide=True)

    def gone(self):
        raise NotReachable("no weights here")

    monkeypatch.setattr(type(model), "fresh_engine", gone)
    with pytest.raises(NotReachable, match="1 of 3 answers"):
        score(half(model), [*TEXTS, "More."])


def test_float32_looks_under_one_key(model):
    rank(model, [Item("x", "Le chat", ("a", "b"), 0)])
    assert [context["arithmetic"] for context in contexts(model)] == ["native"]


def test_a_run_notes_two_dtypes_of_one_model_apart(model, tmp_path, monkeypatch):
    """Of two precisions in one notebook the manifest once had the last."""
    monkeypatch.setenv("WORKBENCH_RUN", str(tmp_path))
    score(model, TEXTS)
    score(half(model), TEXTS)
    facts = json.loads((tmp_path / "facts.json").read_text())["models"]
    name = model.identity.name
    assert {label: about["dtype"] for label, about in facts.items()} == {
        name: "float32",
        f"{name}, bfloat16": "bfloat16",
    }


@pytest.mark.parametrize("kind", CALLS)
def test_the_versions_that_answered_are_recorded_and_not_keyed(model, monkeypatch, kind):
    CALLS[kind](model)
    monkeypatch.setattr(model.engine, "libraries", "torch 99.0")
    CALLS[kind](model)
    assert (model.tally.hits, model.tally.misses) == (2, 2)
    monkeypatch.undo()
    used = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "tokenizers"))
    assert [libraries for _, libraries, *_ in model.store.rows("origins", model.store.contexts())] == [used]
    monkeypatch.setattr(model.engine, "libraries", "torch 99.0")
    more = load(model.name, device="cpu", store=model.store)
    more.__dict__["engine"] = model.engine
    generate(more, ["Another prompt"], max_new_tokens=3)
    known = {libraries for _, libraries, *_ in model.store.rows("origins", model.store.contexts())}
    assert known == {used, "torch 99.0"}


@pytest.mark.parametrize("options", [{}, {"same_device": True}, {"dtype": "bfloat16"}])
@pytest.mark.parametrize("kind", CALLS)
def test_where_nothing_can_be_stored_missing_answers_are_named_before_the_weights_are_read(
    model, monkeypatch, kind, options
):
    """They were once computed first, and lost."""
    CALLS[kind](load(model.name, device="cpu", store=model.store, **options))
    monkeypatch.setattr("workbench.store.sharing.is_read_only", lambda path: True)
    CALLS[kind](load(model.name, device="cpu", store=model.store, **options))  # the twin: nothing is missing
    monkeypatch.setattr(Model, "fresh_engine", lambda _: pytest.fail("weights were read"))
    monkeypatch.setitem(globals(), "TEXTS", [*TEXTS, "new", "newer"])
    asking = load(model.name, device="cpu", store=model.store, **options)
    with pytest.raises(
        StoreFailed, match=r"2 of 4 answers \(\w+\) .* WORKBENCH_STORE .*`workbench store import"
    ) as told:
        CALLS[kind](asking)
    assert (told.value.exit_code, asking.tally.misses) == (7, 0)
