"""An engine from outside the package plugs in by name, and its answers go through the store as any other's."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest

from workbench.errors import BadInput, UnknownName
from workbench.inference.generation import generate
from workbench.inference.scoring import score
from workbench.inference.states import hidden_states
from workbench.models import load
from workbench.models.engines import EngineSpec, engine_called, engines
from workbench.models.requests import Decoded, TokenScores

TOY = '''
"""Answers with the prompt in reverse; a choice scores minus its length, and states it has none."""

import threading
from pathlib import Path

from workbench.models.engines import EngineSpec
from workbench.models.identity import Identity
from workbench.models.requests import Decoded, TokenScores

asked = []


class Toy:
    spec = EngineSpec("toy", {"generate": 1, "score": 1}, {"mirror": "whole"})
    device_family = "toy"
    scores_wide = False
    libraries = "mirrors 1.0"
    lock = threading.RLock()

    def expect(self, name, dtype, revision): ...

    def recall(self, name, revision, store):
        return Identity(name, Path("/"), None, None, "weights-of-" + name, "letters", "toy", False, 99, "file")

    def identify(self, name, revision, store, *, need_weights=False):
        return self.recall(name, revision, store)

    def open(self, identity, *, dtype, device, random_seed):
        return self

    def tolerance(self, dtype):
        return 0.5

    def hand_out(self): ...

    def changed(self): ...

    def generate(self, requests, decoding, batch_size):
        asked.extend(requests)
        yield list(range(len(requests))), [Decoded(r.prompt[::-1], len(r.prompt), True) for r in requests]

    def score(self, requests, rule, options):
        asked.extend(requests)
        yield list(range(len(requests))), [TokenScores(tuple(r.text), (-1.0,) * len(r.text)) for r in requests]


FACTORY = Toy()
'''
USE = """
    import toy_engine
    from workbench import Item, generate, hidden_states, load, rank
    from workbench.errors import BadInput
    from workbench.models import algorithms
    from workbench.store import Store

    def ask():
        model = load("mirror", engine="toy", store=Store("store.sqlite"))
        texts = [answer.text for answer in generate(model, ["abc", "de"], max_new_tokens=9)]
        table = rank(model, [Item("1", "short or long?", ("a", "abc"), gold=0)], protocol="xmtf-mt5")
        return texts, table["prediction"].tolist(), table["scores"].tolist(), table["tie"].tolist(), model

    *first, model = ask()
    assert first == [["cba", "ed"], [0], [[-1.0, -3.0]], [False]], first
    computed = len(toy_engine.asked)
    *second, again = ask()
    assert second == first and len(toy_engine.asked) == computed and again.tally.misses == 0
    assert all('"engine":"toy"' in context and '"mirror":"whole"' in context for context in model.store.contexts())
    assert algorithms()["toy"] == {"generate": 1, "score": 1}
    try:
        hidden_states(model, ["abc"])
    except BadInput as error:
        assert "the engine 'toy' cannot compute states" in str(error), error
    else:
        raise SystemExit("states were given")
    import sys
    assert "torch" not in sys.modules and "transformers" not in sys.modules
"""


def test_an_engine_from_another_package_answers_through_the_store(tmp_path):
    about = tmp_path / "toy_engine-1.0.dist-info"
    about.mkdir()
    (tmp_path / "toy_engine.py").write_text(TOY, encoding="utf-8")
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-engine\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[workbench.engines]\ntoy = toy_engine:FACTORY\n")
    path = ":".join([str(tmp_path), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(USE)], cwd=tmp_path, env={"PYTHONPATH": path},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_an_engine_that_is_not_installed_is_named_with_those_that_are():
    with pytest.raises(
        UnknownName, match="no engine called 'lamma'; installed are: transformers, openai, gguf"
    ):
        load("mini-bloomz", engine="lamma")
    assert list(engines()) == ["transformers", "openai", "gguf"]


def test_what_an_engine_is_belongs_to_the_key(model, monkeypatch):
    generate(model, ["The cat"], max_new_tokens=2)
    before = model.fingerprint("generate")
    factory = engine_called("transformers")
    other = EngineSpec("transformers", factory.spec.algorithms, {"quantization": "8bit"})
    monkeypatch.setattr(factory, "spec", other, raising=False)
    assert model.fingerprint("generate") == {**before, "quantization": "8bit"}
    again = load(model.name, device="cpu", store=model.store)
    generate(again, ["The cat"], max_new_tokens=2)
    assert (again.tally.hits, again.tally.misses) == (0, 1)


def test_a_kind_of_answer_that_an_engine_lacks_is_refused():
    with pytest.raises(BadInput, match="cannot compute states; it computes: generate"):
        EngineSpec("toy", {"generate": 1}).key("states")


@pytest.fixture
def toy(monkeypatch, store):
    """A handle on the toy engine, which answers "abc" and "de" with what its attribute `gives` holds."""
    module = {}
    exec(TOY, module)
    factory = module["FACTORY"]
    factory.spec = EngineSpec("toy", {"generate": 1, "score": 1, "states": 1})
    for method in ("generate", "score", "read_states"):
        monkeypatch.setattr(module["Toy"], method, lambda self, *_: iter([self.gives]), raising=False)
    monkeypatch.setattr(sys.modules[EngineSpec.__module__], "engines", lambda: {"toy": factory})
    return load("mirror", engine="toy", store=store), factory


ASK = {
    "generate": lambda model: generate(model, ["abc", "de"], max_new_tokens=9),
    "score": lambda model: score(model, ["abc", "de"], prompts=["", ""]),
    "states": lambda model: hidden_states(model, ["abc", "de"]),
}
TEXT, SCORED = Decoded("a", 1, True), TokenScores(("a", "b"), (-1.0, -2.0))
STATES = np.ones((2, 3), np.float32)


@pytest.mark.parametrize(
    ("what", "good", "bad", "said"),
    [
        ("score", SCORED, TokenScores(("a", "b"), (-1.0, float("nan"))), "not a number of at most 0"),
        ("score", SCORED, TokenScores(("a", "b"), (-1.0,)), "one log-probability for each"),
        ("score", SCORED, TokenScores(("a", "b"), (-1.0, 2.0)), "not a number of at most 0"),
        ("score", SCORED, None, "vars"),
        ("generate", TEXT, Decoded("a", -1, True), "number of tokens is negative"),
        ("generate", TEXT, Decoded(b"a", 1, True), "its text is not of type str"),
        ("states", STATES, STATES * np.nan, "is not finite"),
        ("states", STATES, STATES[0], "layers by width"),
    ],
)
def test_an_impossible_answer_is_refused_before_it_is_stored(toy, what, good, bad, said):
    """It was once stored, and refused when the next call read it."""
    model, factory = toy
    factory.gives = ([0, 1], [good, bad])
    with pytest.raises(BadInput, match=f"'toy' gave answers .{what}. for mirror that no model .*{said}"):
        ASK[what](model)
    assert model.store.info()["answers"] == 0
    factory.gives = ([1, 0], [good, good])  # the twin
    assert len(getattr(ASK[what](model), "array", [0, 1])) == 2
    assert model.store.info()["answers"] == 2


@pytest.mark.parametrize(
    ("positions", "answers", "said"),
    [
        ([0], 1, "1 of 2 requests have none"),
        ([0, 1], 1, "1 came"),
        ([0, 0], 2, "2 came"),
        ([0, 2], 2, "2 came"),
    ],
)
def test_answers_that_do_not_fit_the_requests_are_refused(toy, positions, answers, said):
    model, factory = toy
    factory.gives = (positions, [SCORED] * answers)
    with pytest.raises(BadInput, match=said):
        ASK["score"](model)
