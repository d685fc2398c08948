"""A model in a service answers as one in the process does, and none of the clients imports torch."""

import os
import ssl
import subprocess
import sys
import textwrap
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import psutil
import pytest

from workbench import Intervention, Item, generate, hidden_states, load, rank, score, token_states
from workbench.engines.client import wanted
from workbench.engines.client.engine import ServedEngine, about
from workbench.errors import BadInput, ServiceFailed
from workbench.inference.activity import neuron_activity
from workbench.inference.lens import lens
from workbench.models.affine_lens import AffineLens
from workbench.service import private_service
from workbench.store import Store

PROMPTS = ["Translate to English: Je t'aime.", "猫坐在垫子上。", "Paka ameketi"]
ITEMS = [Item(str(n), prompt, ("yes", "no, never"), gold=0) for n, prompt in enumerate(PROMPTS)]
SAMPLED = {"max_new_tokens": 5, "do_sample": True, "seed": 3, "samples": 2, "temperature": 0.7}


@pytest.fixture
def served(service, monkeypatch):
    """A function that opens the same model in the service, with a store of its own."""
    monkeypatch.setenv("WORKBENCH_SERVICE", service)

    def twin(model, folder, **options):
        return load(model.name, device="cpu", store=Store(folder / "served.sqlite"), **options)

    return twin


QUANTIZED = pytest.param(
    {"quantization": "8bit"},
    marks=pytest.mark.skipif(
        find_spec("bitsandbytes") is None, reason="needs bitsandbytes, of the extra `quantized`"
    ),
)


@pytest.mark.parametrize("options", [{}, {"random_seed": 7}, QUANTIZED])
def test_answers_of_the_service_are_those_of_the_process_to_the_bit(
    model, served, tmp_path, monkeypatch, options
):
    there = served(model, tmp_path, **options)
    here = load(model.name, device="cpu", store=model.store, **options)
    found = []
    for handle in (there, here):
        tables = [rank(handle, ITEMS), rank(handle, ITEMS, exact=True)]
        found.append((
            generate(handle, PROMPTS, max_new_tokens=9), generate(handle, PROMPTS, **SAMPLED), score(handle, PROMPTS),
            [table["scores"].tolist() for table in tables], tables[0].attrs["audit"],
            hidden_states(handle, PROMPTS).array.tolist(),
        ))  # fmt: skip
        states = token_states(handle, PROMPTS).arrays
        push = Intervention(
            "add", (1,), 3 * states[0][1, 0], stack="encoder" if handle.is_encoder_decoder else "decoder"
        )
        changed = handle.intervened(push)
        activity = [each.active.tolist() for each in neuron_activity(handle, [PROMPTS])]
        answered = token_states(handle, PROMPTS, answers=[" a"] * len(PROMPTS)).arrays
        width = states[0].shape[-1]
        affine = AffineLens([2 * np.eye(width)] * (len(states[0]) - 1), np.ones((len(states[0]) - 1, width)))
        readings = lens(handle, PROMPTS, [["cat"]] * len(PROMPTS), affine=affine)
        found[-1] += (
            [each.tolist() for each in (*states, *answered)],
            activity,
            [(one.logprobs.tolist(), one.kl.tolist()) for one in readings],
            generate(changed, PROMPTS, max_new_tokens=9),
        )
        assert found[-1][-1] != found[-1][0]
        monkeypatch.setenv("WORKBENCH_SERVICE", "off")
    assert there.where.startswith("the service at")
    assert here.where == "this process"
    assert found[0] == found[1]
    assert sorted(there.store.contexts()) == sorted(here.store.contexts())  # the same keys


CLIENT = """
    import sys
    from workbench import Item, generate, hidden_states, load, rank, score
    models = [load(name, device="cpu") for name in sys.argv[1:]]
    for model in models:
        generate(model, ["The cat"], max_new_tokens=3)
        rank(model, [Item("1", "The cat?", ("yes", "no"))])
        score(model, ["The cat sat"])
        hidden_states(model, ["The cat sat"])
        assert model.tally.misses == 5 and not {"torch", "transformers", "httpx._main"} & sys.modules.keys()
    for model in models:
        model.hf
        assert "torch" in sys.modules and model.where == "this process"
        generate(model, ["The mat"], max_new_tokens=3)
    print(len(models))
"""


def test_a_client_imports_no_torch_until_it_wants_the_model_itself(checkpoints, service, tmp_path):
    environment = {
        **os.environ,
        "WORKBENCH_SERVICE": service,
        "WORKBENCH_STORE": str(tmp_path / "store.sqlite"),
    }
    command = [sys.executable, "-c", textwrap.dedent(CLIENT), *map(str, checkpoints.values())]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "2\n"


def test_a_client_reads_no_certificates_and_the_models_threads_sleep_while_they_wait(
    model, served, tmp_path, monkeypatch
):
    """Either made a small request many times slower: certificates always, spinning threads on a busy machine."""
    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", None)
    there = served(model, tmp_path)
    assert generate(there, PROMPTS[:1], max_new_tokens=1)
    children = [row["process"] for row in about(there.engine.address)["models"] if model.name in row["model"]]
    assert {psutil.Process(child).environ()["OMP_WAIT_POLICY"] for child in children} == {"passive"}


def test_errors_and_warnings_of_the_model_reach_the_client(model, served, tmp_path):
    there = served(model, tmp_path)
    with pytest.raises(BadInput, match="has room for"):
        generate(there, ["The cat"], max_new_tokens=3000) if not model.is_encoder_decoder else generate(
            there, ["The cat" * 3000], max_new_tokens=3
        )
    with pytest.raises(BadInput, match="batch_tokens=1"):
        rank(there, ITEMS, batch_tokens=1)
    assert there.where.startswith("the service at")


def test_a_service_with_other_weights_or_versions_is_not_used(model, served, tmp_path, service):
    there = served(model, tmp_path)
    asked = wanted(there)
    ServedEngine(service, asked)
    for other in (
        replace(asked, weights="0" * 40),
        replace(asked, versions={**asked.versions, "torch": "1.0"}),
        replace(asked, algorithms={**asked.algorithms, "score": 99}),
    ):
        with pytest.raises(ServiceFailed, match="the model service has a different"):
            ServedEngine(service, other)


def test_without_its_service_a_handle_computes_in_the_process_and_says_so(model, tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_SERVICE", str(tmp_path / "nobody.sock"))
    with pytest.warns(UserWarning, match="cannot be reached .* is loaded in this process instead"):
        answers = generate(model, PROMPTS, max_new_tokens=3)
    assert model.where == "this process"
    assert len(answers) == 3


def test_a_handle_goes_on_when_its_service_has_ended(checkpoints, store, monkeypatch):
    models = [load(str(folder), device="cpu", store=store) for folder in checkpoints.values()]
    with private_service(threads=1) as address:
        monkeypatch.setenv("WORKBENCH_SERVICE", address)
        first = [generate(model, PROMPTS[:1], max_new_tokens=3) for model in models]
        assert all(model.where.startswith("the service at") for model in models)
    for model, [before] in zip(models, first, strict=True):
        with pytest.warns(UserWarning, match="in this process instead"):
            both = generate(model, PROMPTS[:2], max_new_tokens=3)
        assert both[0] == before
        assert (model.tally.hits, model.tally.misses, model.where) == (1, 2, "this process")


def test_states_cross_as_the_bits_they_are():
    from workbench.engines.client.frames import answers_in, frames_in, pack_answers

    array = np.random.default_rng(0).standard_normal((3, 2, 5)).astype(np.float32)
    frame = pack_answers("states", [2, 0, 1], list(array))
    ((_, about, raw),) = frames_in(frame[n : n + 1] for n in range(len(frame)))  # byte by byte
    positions, found = answers_in("states", about, raw)
    assert positions == [2, 0, 1]
    assert all((one == other).all() for one, other in zip(found, array, strict=True))
    assert list(frames_in(iter([frame[:-1]]))) == []
