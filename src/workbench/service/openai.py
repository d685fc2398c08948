"""The OpenAI completions protocol: `/v1/models` and `/v1/completions`, for decoders and encoder–decoders.

A model is named as for `load`, optionally followed by `@REVISION`, by `:bfloat16` or `:float16`, and by `:8bit` or `:4bit`, in this
order. The fields of `CompletionRequest` are supported; others, and values that would be ignored, are refused.
"""

import asyncio
import os
import time
import uuid
from collections.abc import Sequence
from http.client import responses
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, ValidationError

from workbench.engines.client import Wanted, wanted
from workbench.engines.client.frames import HEAD, unpack
from workbench.errors import UnknownName, WorkbenchError
from workbench.family import shipped
from workbench.models import DTYPES, QUANTIZATIONS, Dtype, Quantization, load
from workbench.service.routes import Route

_STATUS = {"ServiceFailed": 503, "NotReachable": 503, "StoreFailed": 500}  # other errors are the request's
_Ids = Annotated[list[StrictInt], Field(min_length=1)]
_Several = Field(min_length=1)


class CompletionRequest(BaseModel):
    """The fields of a request. `input_tokens` is ours: how many tokens of each prompt, given as ids, an encoder reads.

    `return_tokens_as_token_ids` is vLLM's: among the log-probabilities tokens are called "token_id:5".
    """

    model_config = ConfigDict(extra="forbid")

    model: str
    prompt: StrictStr | _Ids | Annotated[list[StrictStr], _Several] | Annotated[list[_Ids], _Several]
    max_tokens: int = Field(16, ge=0)
    temperature: float = Field(1.0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    seed: int | None = None
    stop: str | list[str] | None = None
    logprobs: int | None = Field(None, ge=0, le=5)
    echo: bool = False
    n: int = Field(1, ge=1, le=128)
    return_tokens_as_token_ids: bool = False
    user: str | None = None
    input_tokens: list[Annotated[StrictInt, Field(ge=1)]] | None = None
    stream: Literal[False] | None = None
    suffix: None = None
    best_of: Literal[1] | None = None
    frequency_penalty: Literal[0] | None = None
    presence_penalty: Literal[0] | None = None

    def settings(self) -> dict[str, Any]:
        """Return the settings of a completion; a seed is drawn if none is given."""
        prompts: Sequence[Any] = self.prompt if isinstance(self.prompt, list) else [self.prompt]
        if prompts and isinstance(prompts[0], int):
            prompts = [prompts]
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or []
        seed = int.from_bytes(os.urandom(4)) if self.seed is None else self.seed
        kept = {
            "max_tokens",
            "temperature",
            "top_p",
            "logprobs",
            "echo",
            "n",
            "input_tokens",
            "return_tokens_as_token_ids",
        }
        return {
            **self.model_dump(include=kept),
            "prompts": prompts,
            "stop": [*filter(None, stops)],
            "seed": seed,
        }


def wanted_by_name(name: str) -> Wanted:
    """Return the model that a name in a request stands for."""
    start, quantization = _split(name, QUANTIZATIONS)
    start, dtype = _split(start, DTYPES)
    checkpoint, _, revision = start.partition("@")
    model = load(
        checkpoint,
        dtype=cast(Dtype, dtype or "float32"),
        quantization=cast(Quantization | None, quantization),
        revision=revision or None,
    )
    return wanted(model)


def _split(name: str, endings: Sequence[str]) -> tuple[str, str | None]:
    """Return a name and which of the endings stands after its last colon, if one does."""
    start, _, ending = name.rpartition(":")
    return (start, ending) if ending in endings else (name, None)


class ModelList(Route):
    """`GET /v1/models`: the models that are loaded, and those that ship with the package."""

    def get(self) -> None:
        """Reply with JSON."""
        names = dict.fromkeys([*self.residents.names(), *shipped()])
        about = {"object": "model", "created": 0, "owned_by": "workbench"}
        self.finish({"object": "list", "data": [{"id": name, **about} for name in names]})


class Completions(Route):
    """`POST /v1/completions`."""

    async def post(self) -> None:
        """Complete the prompts of a request."""
        try:
            asked = CompletionRequest.model_validate_json(self.request.body)
            settings = asked.settings()
            model = await asyncio.to_thread(wanted_by_name, asked.model)
        except ValidationError as error:
            first = error.errors()[0]
            self._refuse(400, f"{'.'.join(map(str, first['loc'][:1])) or 'the request'}: {first['msg']}")
        except UnknownName as error:
            self._refuse(404, str(error))
        except WorkbenchError as error:
            self._refuse(_STATUS.get(type(error).__name__, 400), str(error))
        else:
            await self._complete(asked, model, settings)

    async def _complete(self, asked: CompletionRequest, model: Wanted, settings: dict[str, Any]) -> None:
        choices: list[dict[str, Any]] = []

        async def collect(frame: bytes) -> None:
            choices.append(unpack(frame[: HEAD.size], frame[HEAD.size :])[1])

        order = {"do": "complete", "settings": settings}
        await self.residents.find(model).answer(order, collect, self.gone)
        failed = next((each["error"] for each in choices if "error" in each), None)
        if self.gone.is_set():
            return
        if failed is not None:
            self._refuse(_STATUS.get(failed["kind"], 400), failed["message"])
            return
        self.finish(_completion(asked, [choice for choice in choices if "index" in choice]))

    def _refuse(self, status: int, message: str) -> None:
        self.set_status(status, responses[status])
        kind = "invalid_request_error" if status < 500 else "server_error"
        self.finish({"error": {"message": message, "type": kind, "param": None, "code": status}})


def _completion(asked: CompletionRequest, choices: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a reply; the tokens of a prompt count once, whatever `n` is."""
    read = sum(choice.pop("prompt_tokens") for choice in choices) // asked.n
    written = sum(choice.pop("completion_tokens") for choice in choices)
    return {
        "id": f"cmpl-{uuid.uuid4().hex}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": asked.model,
        "choices": sorted(choices, key=lambda choice: int(choice["index"])),
        "usage": {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written},
    }
