"""An engine whose model runs in the process of a service; this process does not import torch."""

import os
import warnings
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import asdict
from threading import RLock
from typing import Any

import numpy as np

from workbench import errors
from workbench.engines.client.address import TOKEN
from workbench.engines.client.frames import answers_in, frames_in
from workbench.engines.client.http import httpx
from workbench.engines.client.wanted import Wanted
from workbench.errors import BadInput, ServiceFailed, WorkbenchError
from workbench.models.affine_lens import AffineLens
from workbench.models.engines import Watch
from workbench.models.interventions import Intervention
from workbench.models.requests import (
    ComputeOptions,
    Decoded,
    Decoding,
    Lens,
    Part,
    ScoringRule,
    Stack,
    StateOptions,
    TextPositions,
    ToCount,
    ToGenerate,
    TokenAlternatives,
    TokenScores,
    ToLens,
    ToScore,
)

_SECONDS_TO_CONNECT = 5.0


def client_of(address: str) -> httpx.Client:
    """Return an HTTP client of the service at an address; replies have no time limit."""
    token = os.environ.get(TOKEN)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    timeout = httpx.Timeout(None, connect=_SECONDS_TO_CONNECT)
    if address.startswith(("http://", "https://")):
        return httpx.Client(base_url=address, headers=headers, timeout=timeout, trust_env=False)
    transport = httpx.HTTPTransport(
        uds=address, verify=False
    )  # no TLS on a socket: certificates take .1 s to read
    return httpx.Client(base_url="http://workbench", transport=transport, timeout=timeout, trust_env=False)


def answers(address: str) -> bool:
    """Whether a service runs at an address."""
    try:
        about(address)
    except httpx.HTTPError:
        return False
    return True


def about(address: str) -> dict[str, Any]:
    """Return a service's description of itself: its process and its models."""
    with client_of(address) as client:
        found: dict[str, Any] = client.get("/", timeout=_SECONDS_TO_CONNECT).raise_for_status().json()
    return found


def stop(address: str) -> None:
    """End a service and its models."""
    with client_of(address) as client:
        client.post("/stop", timeout=_SECONDS_TO_CONNECT).raise_for_status()


def open_served(address: str, wanted: Wanted) -> "ServedEngine":
    """Return an engine in the service at an address, which loads the model if it is not loaded yet.

    Raises:
        ServiceFailed: no service there, or it has other weights, engines or versions, or too little memory.
        BadInput, NotReachable: the service could not load the model, as this process could not.
    """
    return ServedEngine(address, wanted)


class ServedEngine:
    """A model in a service, as an `Engine`.

    Attributes:
        address: the address of the service.
        device_family, libraries, scores_wide: those of the engine in the service.
        lock: held during a call, so that one thread of this process asks at a time.
    """

    def __init__(self, address: str, wanted: Wanted) -> None:
        self.address, self._wanted = address, asdict(wanted)
        self._client = client_of(address)
        self._interventions: list[dict[str, Any]] = []
        self.lock = RLock()
        *_, (facts, _) = self._frames({"do": "open"})
        self.device_family: str = facts["device_family"]
        self.libraries: str = facts["libraries"]
        self.scores_wide: bool = facts["scores_wide"]

    def is_up(self) -> bool:
        """Whether the service still runs."""
        return answers(self.address)

    def hand_out(self) -> None:
        """Do nothing: outside code has no access to the model."""

    def changed(self) -> str | None:
        """Return None: nothing can change the model from here."""
        return None

    def generate(
        self, requests: Sequence[ToGenerate], decoding: Decoding, batch_size: int
    ) -> Iterator[tuple[list[int], list[Decoded]]]:
        """Yield batches of generated texts."""
        asked = [[request.prompt, request.sample] for request in requests]
        yield from self._ask("generate", asked, asdict(decoding), batch_size=batch_size)

    def generate_watched(
        self, requests: Sequence[ToGenerate], decoding: Decoding, batch_size: int, watch: Watch
    ) -> Iterator[tuple[list[int], list[Decoded]]]:
        """As `generate`; `watch` gets the answers so far, and an exception that it raises ends the work in the service."""
        asked = [[request.prompt, request.sample] for request in requests]
        how = {"batch_size": batch_size, "watched": True}
        yield from self._ask("generate", asked, asdict(decoding), watch=watch, **how)

    def read_alternatives(
        self, requests: Sequence[ToScore], top: int
    ) -> Iterator[tuple[list[int], list[TokenAlternatives]]]:
        """Yield batches of the steps of answers."""
        asked = [[request.prompt, request.text] for request in requests]
        yield from self._ask("alternatives", asked, {"top": top})

    def score(
        self, requests: Sequence[ToScore], rule: ScoringRule, options: ComputeOptions
    ) -> Iterator[tuple[list[int], list[TokenScores]]]:
        """Yield batches of scored texts."""
        asked = [[request.prompt, request.text] for request in requests]
        yield from self._ask("score", asked, asdict(rule), options=asdict(options))

    def read_states(
        self, texts: Sequence[str], reading: StateOptions, batch_size: int, batch_tokens: int | None = None
    ) -> Iterator[tuple[list[int], list[np.ndarray]]]:
        """Yield batches of hidden states."""
        yield from self._ask(
            "states", list(texts), asdict(reading), batch_size=batch_size, batch_tokens=batch_tokens
        )

    def read_token_states(
        self, texts: Sequence[TextPositions], stack: Stack, part: Part, batch_size: int
    ) -> Iterator[tuple[list[int], list[np.ndarray]]]:
        """Yield batches of the states of tokens."""
        asked = [[*vars(each).values()] for each in texts]
        yield from self._ask("token_states", asked, {"stack": stack, "part": part}, batch_size=batch_size)

    def read_activity(
        self, groups: Sequence[ToCount], batch_size: int
    ) -> Iterator[tuple[list[int], list[np.ndarray]]]:
        """Yield the activity of neurons over each group of texts."""
        asked = [[each.texts, each.prompts] for each in groups]
        yield from self._ask("activity", asked, {}, batch_size=batch_size)

    def intervened(self, interventions: Sequence[Intervention]) -> "ServedEngine":
        """Return a client of the same model that sends these interventions with every order."""
        found = copy(self)
        found._interventions = [each.as_json() for each in interventions]
        return found

    def read_lens(
        self, requests: Sequence[ToLens], top: int, batch_size: int, affine: AffineLens | None = None
    ) -> Iterator[tuple[list[int], list[Lens]]]:
        """Yield batches of what each layer says of the next token."""
        asked = [[each.prompt, each.answer, each.words] for each in requests]
        settings = {"top": top, "affine": affine and affine.as_json()}
        yield from self._ask("lens", asked, settings, batch_size=batch_size)

    def _ask(
        self, do: str, requests: list[Any], settings: dict[str, Any], watch: Watch | None = None, **how: Any
    ) -> Iterator[tuple[list[int], list[Any]]]:
        order = {"do": do, "requests": requests, "settings": settings, **how}
        if self._interventions:
            order["interventions"] = self._interventions
        for about, raw in self._frames(order):
            if watch and "so_far" in about:
                watch(*about["so_far"])
            if "positions" in about:
                yield answers_in(do, about, raw)

    def _frames(self, order: dict[str, Any]) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Send an order and yield the frames of its reply; leaving early stops the service after its current batch.

        Raises:
            WorkbenchError: the reply is an error of that kind.
            ServiceFailed: the service or the model's process ended.
        """
        try:
            with self._client.stream("POST", "/answer", json={**order, "wanted": self._wanted}) as reply:
                if not reply.is_success:
                    raise ServiceFailed(
                        f"the model service at {self.address} refuses: {reply.read().decode()[:300]}"
                    )
                for last, about, raw in frames_in(reply.iter_raw()):
                    if text := about.get("warning"):
                        warnings.warn(text, stacklevel=2)
                    if "error" in about:
                        raise _error(about["error"])
                    yield about, raw
                    if last:
                        return
        except httpx.TransportError as error:
            raise self._unreachable(str(error)) from error
        raise self._unreachable("it ended in the middle of a reply")

    def _unreachable(self, reason: str) -> ServiceFailed:
        return ServiceFailed(
            f"the model service at {self.address} cannot be reached or has ended ({reason}); finished answers are "
            "stored, repeat the call to continue"
        )


def _error(about: dict[str, str]) -> WorkbenchError:
    kind = getattr(errors, about["kind"], BadInput)
    error: WorkbenchError = kind(about["message"])
    return error
