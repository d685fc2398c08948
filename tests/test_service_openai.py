"""Clients of the OpenAI protocol get from the service what the package itself computes, for decoders and encoder–decoders."""

import json
import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace

import httpx
import pytest
import torch

from workbench import Item, generate, load, rank, score
from workbench.store import Store

TOKEN = "a token for the tests only"
PROMPT = "Anna has 4 apples. Tom has 2 lemons. Who has apples?"
ITEMS = [
    Item("1", PROMPT, ("Anna", "Tom", "Anna and Tom")),
    Item("2", "The cat ", ("sleeps.", "sat on the mat")),  # lm-eval moves the space
    Item("3", "猫坐在", ("垫子上。", "猫")),
]
NEAR = 1e-4  # nats, float32
FAMILY = ["mini-bloomz", "mini-mt0"]


@contextmanager
def serving(folder):
    """A service on a socket and on a port with a token: (port, socket)."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "socket": str(folder / "s" / "s.sock"),
        "port": port,
        "threads": 1,
        "until_input_ends": True,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "workbench.service.server", json.dumps(settings)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "WORKBENCH_SERVICE_TOKEN": TOKEN},
    )  # fmt: skip
    try:
        assert process.stdout.readline() == b"listening\n"
        yield port, settings["socket"]
    finally:
        process.stdin.close()
        assert process.wait(20) == 0


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("service")) as places:
        yield places


@pytest.fixture(params=FAMILY)
def own(request, tmp_path):
    """The model in this process."""
    return load(request.param, device="cpu", store=Store(tmp_path / "store.sqlite"))


@pytest.fixture
def post(service):
    """A function that asks for a completion over the socket and returns status and reply."""
    transport = httpx.HTTPTransport(uds=service[1])
    with httpx.Client(transport=transport, base_url="http://workbench", timeout=300) as client:

        def ask(model, prompt, **fields):
            asked = json.dumps(
                {"model": model, "prompt": prompt, **fields}
            )  # ASCII: a lone surrogate goes through
            reply = client.post("/v1/completions", content=asked)
            return reply.status_code, reply.json()

        yield ask


def test_greedy_and_sampled_texts_are_those_of_generate(own, post):
    prompts = [PROMPT, "Tom has 2 lemons."]
    expected = generate(own, prompts, max_new_tokens=6)
    status, reply = post(own.name, prompts, max_tokens=6, temperature=0)
    assert status == 200, reply
    assert [choice["text"] for choice in reply["choices"]] == [answer.text for answer in expected]
    reasons = [choice["finish_reason"] for choice in reply["choices"]]
    assert reasons == ["stop" if answer.finished else "length" for answer in expected]
    assert reply["usage"]["completion_tokens"] == sum(answer.token_count for answer in expected)

    sampled = generate(
        own, prompts, max_new_tokens=6, do_sample=True, temperature=1.5, top_p=0.9, seed=5, samples=3
    )
    status, reply = post(own.name, prompts, max_tokens=6, temperature=1.5, top_p=0.9, seed=5, n=3)
    assert [choice["text"] for choice in reply["choices"]] == [answer.text for answer in sampled]
    assert len({choice["text"] for choice in reply["choices"]}) > 1


def test_a_prompt_as_token_ids_is_that_prompt(own, post):
    ids = own.hf.tokenizer(PROMPT, add_special_tokens=False)["input_ids"]
    (_, text), (_, tokens), (_, several) = (
        post(own.name, prompt, max_tokens=5, temperature=0, logprobs=2) for prompt in (PROMPT, ids, [ids])
    )
    assert text["choices"] == tokens["choices"] == several["choices"]


def test_log_probabilities_of_an_answer_are_those_of_score(own, post):
    _, reply = post(own.name, PROMPT, max_tokens=6, temperature=0, logprobs=3)
    (choice,) = reply["choices"]
    about = choice["logprobs"]
    (expected,) = score(own, [choice["text"]], prompts=[PROMPT])
    count = len(expected.tokens)
    assert about["tokens"][:count] == list(expected.tokens)
    assert about["token_logprobs"][:count] == pytest.approx(expected.logprobs, abs=NEAR)
    for name, logprob, top in zip(
        about["tokens"], about["token_logprobs"], about["top_logprobs"], strict=True
    ):
        assert len(top) == 3
        assert top[name] == pytest.approx(logprob, abs=NEAR)
        assert max(top.values()) == top[name]  # greedy


def test_an_echoed_text_has_the_log_probabilities_of_score(post, tmp_path):
    own = load("mini-bloomz", device="cpu", store=Store(tmp_path / "store.sqlite"))
    _, reply = post("mini-bloomz", PROMPT, max_tokens=0, echo=True, logprobs=1)
    (choice,) = reply["choices"]
    (expected,) = score(own, [PROMPT])
    assert choice["text"] == PROMPT
    assert choice["logprobs"]["tokens"] == list(expected.tokens)
    assert choice["logprobs"]["token_logprobs"][0] is expected.logprobs[0] is None
    assert choice["logprobs"]["token_logprobs"][1:] == pytest.approx(expected.logprobs[1:], abs=NEAR)


def test_the_end_token_splits_a_prompt_for_an_encoder_decoder(post, tmp_path):
    own = load("mini-mt0", device="cpu", store=Store(tmp_path / "store.sqlite"))
    _, reply = post("mini-mt0", f"{PROMPT}</s> Anna", max_tokens=0, echo=True, logprobs=1)
    (choice,) = reply["choices"]
    (expected,) = score(own, [" Anna"], prompts=[PROMPT])
    count = len(expected.tokens)
    found = choice["logprobs"]
    assert choice["text"] == f"{PROMPT}</s> Anna"
    assert found["tokens"][-count:] == list(expected.tokens)
    assert found["token_logprobs"][-count:] == pytest.approx(expected.logprobs, abs=NEAR)
    assert found["token_logprobs"][: -count - 1] == [None] * (len(found["tokens"]) - count - 1)
    assert found["token_logprobs"][-count - 1] == 0.0
    status, reply = post("mini-mt0", f"{PROMPT}</s> Anna", max_tokens=5)
    assert status == 400
    assert "cannot continue an answer" in reply["error"]["message"]


def test_a_stop_text_ends_an_answer_before_it(own, post):
    _, reply = post(own.name, PROMPT, max_tokens=8, temperature=0, logprobs=0)
    (whole,) = reply["choices"]
    stop = whole["text"][1:3]
    _, reply = post(own.name, PROMPT, max_tokens=8, temperature=0, stop=[stop, "never"], logprobs=0)
    (cut,) = reply["choices"]
    assert cut["text"] == whole["text"][: whole["text"].index(stop)]
    assert cut["finish_reason"] == "stop"
    tokens = cut["logprobs"]["tokens"]
    assert tokens == whole["logprobs"]["tokens"][: len(tokens)]


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"model": "mini-blomz"}, 404, "mini-bloomz"),
        ({"prompt": [[1, 10**6]]}, 400, "from 0 to"),
        ({"prompt": []}, 400, "prompt"),
        ({"prompt": [3.5]}, 400, "prompt"),
        ({"max_tokens": 10**6}, 400, "takes"),
        ({"logprobs": 6}, 400, "logprobs"),
        ({"stream": True}, 400, "stream"),
        ({"best_of": 2}, 400, "best_of"),
        ({"guided": "x"}, 400, "guided"),
        ({"prompt": "\ud800"}, 400, "Invalid JSON"),
        ({"model": "mini-mt0:float16"}, 400, "overflow"),
        ({"model": "mini-mt0", "max_tokens": 1, "temperature": 0, "echo": True}, 400, "put its end token"),
    ],
)
def test_what_cannot_be_done_is_refused_in_the_protocol_s_form(post, fields, status, message):
    asked = {"model": "mini-bloomz", "prompt": PROMPT, **fields}
    found, reply = post(asked.pop("model"), asked.pop("prompt"), **asked)
    assert found == status, reply
    assert message in reply["error"]["message"]
    assert reply["error"]["type"] == "invalid_request_error"


def test_a_port_needs_the_token(service):
    address = f"http://127.0.0.1:{service[0]}"
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        for path in ("/", "/v1/models"):
            reply = httpx.get(address + path, headers=headers)
            assert reply.status_code == 401
            assert "token" in reply.json()["error"]["message"]
    assert httpx.get(address, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_the_openai_package_is_served(own, service):
    openai = pytest.importorskip("openai", reason="needs the extra `clients`")
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{service[0]}/v1", api_key=TOKEN, max_retries=0)
    assert own.name in [model.id for model in client.models.list()]
    (expected,) = generate(own, [PROMPT], max_new_tokens=5)
    reply = client.completions.create(model=own.name, prompt=PROMPT, max_tokens=5, temperature=0, logprobs=1)
    assert reply.choices[0].text == expected.text
    assert len(reply.choices[0].logprobs.token_logprobs) >= expected.token_count
    assert reply.usage.completion_tokens == expected.token_count
    with pytest.raises(openai.BadRequestError, match="logprobs"):
        client.completions.create(model=own.name, prompt=PROMPT, logprobs=9)
    with pytest.raises(openai.NotFoundError, match="no checkpoint called"):
        client.completions.create(model="mini-nobody", prompt=PROMPT)
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="wrong").models.list()


def harness(service, model, *, seq2seq=False, **options):
    """lm-evaluation-harness' client; `seq2seq` encodes input and answer apart, as its own transformers model does."""
    module = pytest.importorskip("lm_eval.models.openai_completions", reason="needs the extra `clients`")
    kind = module.LocalCompletionsAPI
    if seq2seq:
        kind = type("Seq2Seq", (kind,), {"backend": "seq2seq", "tok_encode": _with_end})
    return kind(
        model=model.name, base_url=f"http://127.0.0.1:{service[0]}/v1/completions", max_retries=1,
        tokenizer=str(model.identity.folder), tokenizer_backend="huggingface", header={"Authorization": f"Bearer {TOKEN}"},
        **options,
    )  # fmt: skip


def _with_end(self, string, add_special_tokens=True, **_):
    return self.tokenizer(string, add_special_tokens=add_special_tokens)["input_ids"]


def likelihoods(client, items, before):
    from lm_eval.api.instance import Instance

    pairs = [(item.prompt, f"{before}{choice}") for item in items for choice in item.choices]
    requests = [Instance("loglikelihood", {}, pair, number) for number, pair in enumerate(pairs)]
    return client.loglikelihood(requests, disable_tqdm=True)


@pytest.mark.parametrize("way", ["stock", "subclass"])
@pytest.mark.parametrize("options", [{"batch_size": 1}, {"batch_size": 3}, {"num_concurrent": 4}])
def test_lm_evaluation_harness_gets_the_scores_of_rank(own, service, way, options):
    """For mT0, a stock client splits with `target_delimiter: "</s> "` in its task; a subclass encodes the two apart."""
    split = own.is_encoder_decoder and way == "stock"
    if way == "subclass" and not own.is_encoder_decoder:
        pytest.skip("a decoder needs no subclass")
    client = harness(service, own, seq2seq=way == "subclass", **options)
    items = [replace(item, prompt=item.prompt.rstrip()) for item in ITEMS] if split else ITEMS
    found = likelihoods(client, items, "</s> " if split else " ")
    expected = [each for row in rank(own, items, protocol="lm-eval")["scores"] for each in row]
    assert [logprob for logprob, _ in found] == pytest.approx(expected, abs=NEAR)
    assert [is_greedy for _, is_greedy in found] == [
        greedy(own, item.prompt, choice) for item in items for choice in item.choices
    ]
    (answer,) = generate(own, [PROMPT], max_new_tokens=1)
    ((_, is_greedy),) = likelihoods(client, [Item("1", PROMPT, (answer.text,))], "</s>" if split else "")
    assert is_greedy


@torch.inference_mode()
def greedy(own, prompt, choice):
    """Whether transformers' own model would write the choice: what lm-evaluation-harness calls greedy."""
    tokenizer, model, bare = own.hf.tokenizer, own.hf.model, prompt.rstrip()
    text = f"{prompt[len(bare) :]} {choice}"
    read = tokenizer(bare)["input_ids"]
    if own.is_encoder_decoder:
        target = tokenizer(text, add_special_tokens=False)["input_ids"]
        start = [model.config.decoder_start_token_id, *target[:-1]]
        logits = model(input_ids=torch.tensor([read]), decoder_input_ids=torch.tensor([start])).logits[0]
    else:
        whole = tokenizer(bare + text)["input_ids"]
        target = whole[len(read) :]
        logits = model(input_ids=torch.tensor([whole])).logits[0, len(read) - 1 : -1]
    return logits.argmax(-1).tolist() == target


def test_lm_evaluation_harness_generates_what_generate_does(own, service):
    from lm_eval.api.instance import Instance

    client = harness(service, own)
    asked = Instance("generate_until", {}, (PROMPT, {"until": ["\n"], "max_gen_toks": 6}), 0)
    (expected,) = generate(own, [PROMPT], max_new_tokens=6)
    assert client.generate_until([asked], disable_tqdm=True) == [expected.text.split("\n")[0]]
