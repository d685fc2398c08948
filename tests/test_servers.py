"""Models on OpenAI-compatible servers: their scores are ours, servers that cannot give them are refused, and nothing is lost."""

import json
import os
import signal
import socket
import subprocess
import threading
import time
from threading import Timer

import httpx
import pytest
from typer.testing import CliRunner

from tests.imitated_server import (
    does_not_count,
    forgets_a_prompt,
    gives_nan,
    has_another_tokenizer,
    ignores_echo,
    imitated,
    is_off_by_one,
    knows_no_likely_tokens,
    knows_no_logprobs_of_prompts,
    puts_a_token_before,
    truncates,
    writes_tokens_as_text,
)
from tests.test_service_openai import TOKEN, serving
from workbench import Item, alternatives, generate, hidden_states, load, rank, score
from workbench.cli import app
from workbench.engines.client import wanted
from workbench.engines.openai import opening
from workbench.engines.openai.connection import KEY, Patience
from workbench.engines.transformers.convert import to_safetensors
from workbench.errors import BadInput, NotReachable, UnknownName
from workbench.family import badge_of, find, served_name
from workbench.models import digest_of
from workbench.models.places import locate
from workbench.models.requests import ComputeOptions, ScoringRule, ToScore
from workbench.paths import notebook_path
from workbench.runs.plans import plan
from workbench.store import Store
from workbench.store.export import export_pack
from workbench.store.packs import import_pack
from workbench.training import finetune

PROMPTS = ["Translate to English: Je t'aime.", "猫坐在垫子上。", "Paka ameketi", "The cat sat on"]
ITEMS = [Item(str(n), prompt, ("yes", "no, never", "猫"), gold=0) for n, prompt in enumerate(PROMPTS)]
PROTOCOLS = ["xmtf", "per-token", "pmi", "lm-eval"]
NEAR = 1e-4  # nats, float32


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    """Pauses of milliseconds."""
    monkeypatch.setattr(opening, "_AT_FIRST", Patience(tries=3, first=0.01))
    monkeypatch.setattr(opening, "_LATER", Patience(tries=3, first=0.01))
    monkeypatch.delenv(KEY, raising=False)


@pytest.fixture
def server(model):
    """A server that is well: its imitation and its address."""
    with imitated(model.engine) as (imitation, address):
        yield imitation, address


@pytest.fixture
def there(server, model, tmp_path):
    """A function that opens the model on the server."""

    def opened(store="there", **options):
        return load(f"{server[1]}#big={model.name}", store=Store(tmp_path / f"{store}.sqlite"), **options)

    return opened


def all_scores(table):
    return [logprob for row in table["scores"] for logprob in row]


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("service")) as (port, _):
        yield f"http://127.0.0.1:{port}/v1"


def test_our_service_over_tcp_gives_the_scores_and_texts_of_the_process(
    model, service, tmp_path, monkeypatch
):
    monkeypatch.setenv(KEY, TOKEN)
    far = load(f"{service}#{model.name}", store=Store(tmp_path / "far.sqlite"))
    assert generate(far, PROMPTS, max_new_tokens=9) == generate(model, PROMPTS, max_new_tokens=9)
    for name in PROTOCOLS:
        theirs, ours = (rank(each, ITEMS, protocol=name) for each in (far, model))
        assert all_scores(theirs) == pytest.approx(all_scores(ours), abs=NEAR)
        assert theirs["tokens"].tolist() == ours["tokens"].tolist()
    for theirs, ours in zip(score(far, PROMPTS), score(model, PROMPTS), strict=True):
        assert theirs.tokens == ours.tokens
        assert [one is None for one in theirs.logprobs] == [one is None for one in ours.logprobs]
        assert theirs.logprobs[1:] == pytest.approx(ours.logprobs[1:], abs=NEAR)
    assert far.where == f"the server at {service}"
    assert far.engine.libraries == "server workbench"
    assert all(TOKEN not in text for text in [repr(far), *far.store.contexts(), far.label])


def test_a_server_gives_the_same_in_batches_and_alone(there, model):
    together = all_scores(rank(there(), ITEMS))
    assert together == pytest.approx(all_scores(rank(model, ITEMS)), abs=NEAR)
    alone = [all_scores(rank(there(f"alone {item.id}"), [item], batch_tokens=1))[0:3] for item in ITEMS]
    assert together == pytest.approx([logprob for each in alone for logprob in each], abs=NEAR)
    texts = generate(there(), PROMPTS, max_new_tokens=6)
    assert texts == [
        answer
        for prompt in PROMPTS
        for answer in generate(there("one by one"), [prompt], max_new_tokens=6, batch_size=1)
    ]


@pytest.mark.parametrize("answer", [" 猫 chat", ""])
def test_a_server_says_what_else_could_have_come_as_the_process_does(there, model, server, answer):
    for prompt in PROMPTS:
        far, here = (alternatives(each, prompt, answer, 4) for each in (there(), model))
        assert [step.text for step in far.steps] == [step.text for step in here.steps]
        for its, ours in zip(far.steps, here.steps, strict=True):
            assert its.logprob == pytest.approx(ours.logprob, abs=NEAR)
            assert dict(its.top) == pytest.approx(dict(ours.top), abs=NEAR)
    asked = len(server[0].asked)
    alternatives(there(), PROMPTS[0], answer, 4)
    assert len(server[0].asked) == asked  # from the store


def test_tokens_of_a_server_that_calls_them_by_text_are_not_guessed(there, server):
    far = there()
    _ = far.engine  # connected and checked
    server[0].fault = writes_tokens_as_text
    with pytest.raises(BadInput, match="several may have one"):
        alternatives(far, PROMPTS[0], " chat")
    server[0].fault = knows_no_likely_tokens
    with pytest.raises(BadInput, match="did not return the 5 likeliest tokens"):
        alternatives(far, PROMPTS[0], " chat")
    with pytest.raises(BadInput, match="refuses completions"):
        alternatives(far, PROMPTS[0], " chat", 30)  # more than it returns
    server[0].fault = None
    assert alternatives(far, PROMPTS[0], " chat").steps


def test_samples_have_seeds_of_their_own_and_settings_that_servers_lack_are_refused(there, server):
    far = there()
    asked = {"max_new_tokens": 6, "do_sample": True, "seed": 3, "samples": 3, "temperature": 1.5}
    answers = generate(far, PROMPTS, **asked)
    assert len({answer.text for answer in answers if answer.prompt == PROMPTS[0]}) > 1
    assert answers == generate(there("again"), PROMPTS, **asked)
    assert answers != generate(there("other"), PROMPTS, **{**asked, "seed": 4})
    for setting in ({"num_beams": 2}, {"repetition_penalty": 1.2}, {"min_new_tokens": 1}):
        with pytest.raises(BadInput, match="servers are asked with"):
            generate(far, PROMPTS, max_new_tokens=3, **setting)
    with pytest.raises(BadInput, match="identical bits"):
        rank(far, ITEMS, exact=True)
    with pytest.raises(BadInput, match="cannot compute states"):
        hidden_states(far, PROMPTS)
    with pytest.raises(BadInput, match="is on a server"):
        _ = far.hf


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        (ignores_echo, "no log-probabilities for a prompt of"),
        (knows_no_logprobs_of_prompts, "no log-probabilities for a prompt of"),
        (is_off_by_one, "its log-probabilities belong to other tokens"),
        (truncates, "12 log-probabilities for a prompt of"),
        (has_another_tokenizer, "declare the checkpoint that it serves"),
        (does_not_count, "does not say how many tokens"),
        (gives_nan, "returned nan as the log-probability"),
        (forgets_a_prompt, "it has to answer each once"),
    ],
)
def test_a_server_that_cannot_give_scores_is_refused_by_what_was_seen(there, server, fault, seen):
    server[0].fault = fault
    with pytest.raises(BadInput, match=seen):
        rank(there(), ITEMS)
    assert there().store.contexts() == []
    server[0].fault = None
    assert len(rank(there(), ITEMS)) == len(ITEMS)


def test_a_decoder_that_gets_a_token_before_its_prompt_is_refused(checkpoints, store, tmp_path):
    own = load(str(checkpoints["bloom"]), device="cpu", store=store)
    with imitated(own.engine) as (imitation, address):
        imitation.fault = puts_a_token_before
        with pytest.raises(BadInput, match="which nothing precedes"):
            score(load(f"{address}#big={own.name}", store=Store(tmp_path / "there.sqlite")), PROMPTS)


@pytest.mark.parametrize("statuses", [[500, 503], [429], [0], [502, 0]])
def test_a_server_that_recovers_is_asked_again(there, server, model, statuses):
    far = there()
    _ = far.engine
    before = len(server[0].asked)
    server[0].statuses = list(statuses)
    assert all_scores(rank(far, ITEMS)) == pytest.approx(all_scores(rank(model, ITEMS)), abs=NEAR)
    again = [each for each in server[0].asked[before:] if each == server[0].asked[before]]
    assert len(again) == len(statuses) + 1


def test_one_that_does_not_recover_is_given_up_with_the_reason(there, server):
    far = there()
    _ = far.engine
    server[0].statuses = [503] * 99
    with pytest.raises(NotReachable, match=r"did not answer in 3 tries \(status 503: overloaded\)"):
        rank(far, ITEMS)


def test_a_server_that_dies_in_the_middle_loses_nothing(there, server):
    far = there()
    _ = far.engine
    server[0].dies_after = 5
    with pytest.raises(NotReachable, match="finished answers are stored"):
        rank(far, ITEMS, batch_tokens=1)
    server[0].dies_after = None
    again = there()
    table = rank(again, ITEMS, batch_tokens=1)
    assert (again.tally.hits, again.tally.misses) == (5, 7)
    assert all_scores(table) == pytest.approx(all_scores(rank(there("fresh"), ITEMS)), abs=NEAR)


def test_who_leaves_early_does_not_wait_for_replies(there, server):
    engine = there().engine
    server[0].goes_on.clear()
    waiting = engine.score([ToScore(prompt, "yes") for prompt in PROMPTS], ScoringRule(), ComputeOptions(1))
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    Timer(0.5, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT]).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        next(waiting)
    signal.signal(signal.SIGINT, usual)
    assert time.monotonic() - began < 60, "the replies never come"
    assert all(thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread())
    server[0].goes_on.set()


def test_declared_answers_are_found_by_every_address_and_never_as_those_of_weights(
    there, server, model, tmp_path
):
    far = there()
    generate(far, PROMPTS, max_new_tokens=4)
    here = load(model.name, device="cpu", store=far.store)
    generate(here, PROMPTS, max_new_tokens=4)
    assert here.tally.misses == len(PROMPTS)
    other = load(f"http://elsewhere.invalid:1/v1#{model.name}", store=far.store)
    assert generate(other, PROMPTS, max_new_tokens=4) == generate(there(), PROMPTS, max_new_tokens=4)
    assert (other.tally.hits, other.where) == (len(PROMPTS), "not loaded")
    assert {*far.fingerprint("generate").items()} & {("declared", True), ("engine", "openai")}
    assert far.fingerprint("generate")["weights"] != here.fingerprint("generate")["weights"]
    assert far.provenance["declared"] is True
    assert "declared" not in here.provenance
    assert other.tally.hits_by_device == {"remote": len(PROMPTS)}
    export_pack(far.store, tmp_path / "pack")
    taken = Store(tmp_path / "taken.sqlite")
    import_pack(taken, tmp_path / "pack")
    assert server[1].encode() not in (tmp_path / "pack").read_bytes()
    offline = load(other.name, store=taken)
    generate(offline, PROMPTS, max_new_tokens=4)
    assert offline.tally.misses == 0


def test_a_hub_id_needs_only_its_tokenizer_and_each_revision_is_another_model(
    checkpoints, store, tmp_path, fill_hub_cache
):
    own = load(str(checkpoints["bloom"]), device="cpu", store=store)
    root = fill_hub_cache(checkpoints["bloom"], "lab/huge")
    for link in root.glob("snapshots/*/model.safetensors"):
        link.unlink()
    with imitated(own.engine) as (imitation, address):
        imitation.listed = [{"id": "big", "owned_by": "vllm", "root": "lab/huge"}]
        far = load(f"{address}#big=lab/huge", store=store, declared_revision="c" * 40)
        assert all_scores(rank(far, ITEMS)) == pytest.approx(all_scores(rank(own, ITEMS)), abs=NEAR)
        assert far.provenance["commit"] == "c" * 40
        loose = load(f"{address}#big=lab/huge", store=store)
        assert loose.fingerprint("score")["weights"] != far.fingerprint("score")["weights"]
        assert far.badge == "MEASURED"
        imitation.listed[0]["root"] = "lab/other"
        with pytest.raises(BadInput, match="says that its model 'big' is lab/other, not lab/huge"):
            rank(loose, ITEMS)
        imitation.listed[0] = {"id": "small", "owned_by": "vllm"}
        with pytest.raises(
            UnknownName, match=f"it has: small. If one of them is lab/huge, load {address}#NAME=lab/huge"
        ):
            rank(load(f"{address}#lab/huge", store=store), ITEMS)


def test_the_key_comes_from_the_environment_and_is_written_nowhere(
    there, server, tmp_path, monkeypatch, caplog
):
    server[0].key = secret = "a-key-of-the-tests"
    with pytest.raises(
        BadInput, match=r"refuses the key \(status 401\); put the one that it expects in WORKBENCH_API_KEY"
    ):
        rank(there(), ITEMS)
    monkeypatch.setenv(KEY, secret)
    caplog.set_level("DEBUG")
    rank(there(), ITEMS)
    assert secret not in caplog.text
    assert not any(secret.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("http://localhost:8000/v1", "after #, the checkpoint"),
        ("http://#bloomz", "after #, the checkpoint"),
        ("http://localhost/v1#big=", "after #, the checkpoint"),
        ("http://me:sesame@localhost/v1#bloomz", "give the address alone"),
        ("https://localhost/v1?key=sesame#bloomz", "give the address alone"),
        ("http://[::1/v1#bloomz", "no valid address"),
        ("http://localhost:port/v1#bloomz", "no valid address"),
    ],
)
def test_names_that_are_no_model_on_a_server_are_refused_without_their_secrets(name, seen):
    with pytest.raises(BadInput, match=seen) as caught:
        load(name)
    assert "sesame" not in str(caught.value)


def test_names_on_servers_stand_for_their_checkpoint():
    name = "https://example.org/v1/#big=bloomz"
    assert vars(served_name(name)) == {
        "address": "https://example.org/v1",
        "checkpoint": "bloomz",
        "called": "big",
    }
    assert find(name).name == "bloomz"
    assert badge_of(name) == "MEASURED"
    assert badge_of("http://localhost/v1#mini-bloomz") == "SYNTHETIC"
    assert digest_of("http://localhost/v1#mini-bloomz") != digest_of("mini-bloomz")
    with pytest.raises(UnknownName, match="blomz"):
        load("http://localhost/v1#blomz")
    with pytest.raises(BadInput, match="declared_revision"):
        load("bloomz", declared_revision="main")


def test_what_needs_weights_refuses_a_server(model, there, tmp_path, server):
    with pytest.raises(BadInput, match="leave out device='cuda'"):
        generate(there(device="cuda"), PROMPTS, max_new_tokens=2)
    with pytest.raises(BadInput, match="leave out random_seed=1"):
        generate(there(random_seed=1), PROMPTS, max_new_tokens=2)
    for refuse in (locate, lambda name: to_safetensors(name, tmp_path / "copy")):
        with pytest.raises(BadInput, match="is a model on a server"):
            refuse(f"{server[1]}#mini-bloomz")
    with pytest.raises(BadInput, match="opened by the engine 'openai'"):
        finetune(there(), None, tmp_path / "new", None)
    with pytest.raises(BadInput, match="is a model on another server"):
        wanted(there())


def test_a_server_that_is_not_there_is_named_with_the_missing_answers(tmp_path):
    far = load("http://127.0.0.1:9/v1#mini-bloomz", store=Store(tmp_path / "store.sqlite"))
    with pytest.raises(
        NotReachable, match=r"4 of 4 answers .* the server at http://127.0.0.1:9/v1 did not answer"
    ) as caught:
        generate(far, PROMPTS, max_new_tokens=2)
    assert caught.value.missing == tuple(PROMPTS)


def test_evaluate_and_notebooks_take_a_model_on_a_server(tmp_path, monkeypatch):
    own = load("mini-bloomz", device="cpu", store=Store(tmp_path / "own.sqlite"))
    monkeypatch.setenv("WORKBENCH_STORE", str(tmp_path / "store.sqlite"))
    monkeypatch.chdir(tmp_path)
    with imitated(own.engine) as (_, address):
        names = (f"{address}#big=mini-bloomz", "mini-bloomz")
        done = CliRunner().invoke(
            app, ["evaluate", names[0], "sentiment", "--languages", "x-en", "--limit", "2", "--json"]
        )
        assert done.exit_code == 0, done.output
        found = json.loads(done.stdout)
        assert (found["badge"], found["by_language"][0]["model"]) == ("SYNTHETIC", names[0])
        (facts,) = json.loads(next(tmp_path.rglob("evaluation.json")).read_text())["models"].values()
        assert facts["declared"] is True
        planned = [plan(notebook_path("01_prompt_sensitivity.ipynb"), {"model": name}) for name in names]
    assert planned[0].run_id != planned[1].run_id
    assert names[0] in planned[0].models
    assert planned[0].digests()[names[0]] != planned[1].digests()[names[1]]


VLLM = os.environ.get("WORKBENCH_VLLM")  # the Python of an environment that has vLLM (docs/servers.md)


@pytest.fixture(scope="module")
def vllm(tmp_path_factory):
    """A vLLM server of mini-bloomz: its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}
    log = tmp_path_factory.mktemp("vllm") / "log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [VLLM, "-m", "vllm.entrypoints.openai.api_server", "--model", str(find("mini-bloomz").folder), "--served-model-name", "big",
             "--dtype", "float32", "--enforce-eager", "--host", "127.0.0.1", "--port", str(port), "--api-key", TOKEN],
            env={**os.environ, **settings}, stdout=file, stderr=file, cwd=log.parent,
        )  # fmt: skip
    try:
        wait_for(f"http://127.0.0.1:{port}/health", process, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(60)


def wait_for(url, process, log):
    for _ in range(600):
        assert process.poll() is None, log.read_text()[-2000:]
        try:
            if httpx.get(url, timeout=5).is_success:
                return
        except httpx.TransportError:
            time.sleep(1)
    raise AssertionError(log.read_text()[-2000:])


@pytest.mark.soak
@pytest.mark.skipif(not VLLM, reason="WORKBENCH_VLLM names no Python with vLLM")
def test_vllm_gives_our_scores_within_its_tolerance_and_our_texts(vllm, tmp_path, monkeypatch):
    monkeypatch.setenv(KEY, TOKEN)
    far = load(f"{vllm}#big=mini-bloomz", store=Store(tmp_path / "far.sqlite"))
    here = load("mini-bloomz", device="cpu", store=Store(tmp_path / "here.sqlite"))
    prompts = [f"Tom has {n} lemons. Anna has {n + 1} apples. Who has more?" for n in range(2, 32)]
    items = [Item(prompt, prompt, ("Anna", "Tom", "nobody")) for prompt in prompts]
    for protocol in PROTOCOLS:
        theirs, ours = (rank(each, items, protocol=protocol) for each in (far, here))
        assert all_scores(theirs) == pytest.approx(all_scores(ours), abs=far.tolerance)
        assert theirs.attrs["audit"]["largest_difference"] < NEAR
    assert generate(far, prompts, max_new_tokens=8) == generate(here, prompts, max_new_tokens=8)
    assert far.engine.libraries.startswith("server vllm ")
