"""A real HTTP server that answers completions with a real model in this process and, on demand, with the faults of others."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from pydantic import ValidationError

from workbench.errors import WorkbenchError
from workbench.service.completions import complete
from workbench.service.openai import CompletionRequest

CALLED = "big"


def ignores_echo(asked, reply):
    """As `transformers serve`: generates, whatever is asked for."""
    for choice in reply["choices"]:
        choice["logprobs"] = None


def knows_no_logprobs_of_prompts(asked, reply):
    """As llama-server: the generated tokens alone have log-probabilities."""
    for choice in reply["choices"] if asked.echo else []:
        choice["logprobs"] = {"tokens": [], "token_logprobs": []}


def knows_no_likely_tokens(asked, reply):
    for choice in reply["choices"]:
        choice["logprobs"]["top_logprobs"] = None


def writes_tokens_as_text(asked, reply):
    """As vLLM before it could give ids."""
    for choice in reply["choices"]:
        rows = choice["logprobs"]["top_logprobs"]
        choice["logprobs"]["top_logprobs"] = [
            row and {name.replace("token_id:", "word"): value for name, value in row.items()} for row in rows
        ]


def is_off_by_one(asked, reply):
    """As llama-cpp-python's server for models without a token at the beginning."""
    for choice in reply["choices"] if asked.echo else []:
        about = choice["logprobs"]
        about["token_logprobs"] = [None, *about["token_logprobs"][2:], -3.0]


def puts_a_token_before(asked, reply):
    for choice in reply["choices"] if asked.echo else []:
        choice["logprobs"]["token_logprobs"][0] = -2.5


def truncates(asked, reply):
    """As a server with a short context that cuts prompts silently."""
    for choice in reply["choices"] if asked.echo else []:
        about = choice["logprobs"]
        about["tokens"], about["token_logprobs"] = about["tokens"][-12:], about["token_logprobs"][-12:]


def has_another_tokenizer(asked, reply):
    reply["usage"]["prompt_tokens"] += 3


def does_not_count(asked, reply):
    del reply["usage"]


def gives_nan(asked, reply):
    for choice in reply["choices"] if asked.echo else []:
        choice["logprobs"]["token_logprobs"][-1] = float("nan")


def forgets_a_prompt(asked, reply):
    if len(reply["choices"]) > 1:
        reply["choices"].pop()


class Imitation:
    """What the server does: `fault` changes replies, `statuses` are sent first instead of replies, `dies_after` completions."""

    def __init__(self, engine):
        self.engine, self.lock = engine, threading.Lock()
        self.listed = [{"id": CALLED, "owned_by": "vllm"}]
        self.goes_on = threading.Event()  # cleared: the server takes requests and does not answer
        self.goes_on.set()
        self.fault, self.statuses, self.dies_after, self.key, self.asked = None, [], None, None, []

    def completion(self, body):
        asked = CompletionRequest.model_validate_json(body)
        assert asked.model == CALLED
        with self.lock:
            choices = list(complete(self.engine, asked.settings()))
        read = sum(choice.pop("prompt_tokens") for choice in choices)
        reply = {"choices": choices, "usage": {"prompt_tokens": read}}
        if self.fault:
            self.fault(asked, reply)
        return reply

    def handler(self):
        imitation = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_): ...

            def do_GET(self):
                self.answer(lambda: {"data": imitation.listed})

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                imitation.asked.append(json.loads(body))
                imitation.goes_on.wait()
                self.answer(lambda: imitation.completion(body))

            def answer(self, make):
                if imitation.key and self.headers.get("Authorization") != f"Bearer {imitation.key}":
                    return self.reply(401, {"error": {"message": "no key"}})
                if self.command == "POST" and imitation.statuses:
                    status = imitation.statuses.pop(0)
                    return (
                        self.reply(status, {"error": {"message": "overloaded"}}) if status else self.hang_up()
                    )
                if imitation.dies_after is not None and self.command == "POST":
                    with imitation.lock:
                        imitation.dies_after -= 1
                    if imitation.dies_after < 0:
                        return self.hang_up()
                try:
                    return self.reply(200, make())
                except (WorkbenchError, ValidationError) as error:
                    return self.reply(400, {"error": {"message": str(error)}})

            def hang_up(self):
                self.close_connection = True

            def reply(self, status, about):
                raw = json.dumps(about).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(raw)))
                if status == 429:
                    self.send_header("Retry-After", "0.05")
                self.end_headers()
                self.wfile.write(raw)

        return Handler


@contextmanager
def imitated(engine):
    """Yield the imitation and its address."""
    imitation = Imitation(engine)
    server = ThreadingHTTPServer(("127.0.0.1", 0), imitation.handler())
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield imitation, f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
