"""The registry of engines and the protocols that an engine implements; an engine is imported only when it has to compute.

An engine is registered as an entry point of the group `workbench.engines`, whose name is the engine's and whose object is an
`EngineFactory`. An engine takes lists of requests and yields finished batches as (positions, answers), in any order, so that
the caller can commit each batch. Equal requests must give equal answers within the factory's tolerance, whatever else is in
the batch.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib import import_module
from typing import Any, Literal, Protocol, runtime_checkable

from workbench.errors import BadInput, UnknownName
from workbench.family import is_gguf, is_served, registered
from workbench.models.affine_lens import AffineLens
from workbench.models.identity import Identity
from workbench.models.interventions import Intervention
from workbench.models.requests import (
    ComputeOptions,
    Decoded,
    Decoding,
    IdsToGenerate,
    IdsToScore,
    Lens,
    Part,
    ScoringRule,
    Stack,
    StateOptions,
    TextPositions,
    ToCount,
    ToGenerate,
    TokenAlternatives,
    TokenRank,
    TokenScores,
    ToLens,
    ToScore,
)
from workbench.store import Store

Capability = Literal["generate", "score", "states", "lens", "intervene", "alternatives"]
Watch = Callable[[int, str], None]  # gets the position of a request, and its answer so far
DEFAULT, OF_SERVERS, OF_FILES = "transformers", "openai", "gguf"


@dataclass(frozen=True)
class EngineSpec:
    """How answers are computed; all fields are part of their key in the store.

    Attributes:
        kind: the engine's name in the registry.
        algorithms: an algorithm version for each capability. Increase it when the same request to the same checkpoint gives a
            different answer than before, beyond rounding; old answers stay in the store but are no longer used.
        options: everything else about the engine that changes an answer, such as a quantization.
        quantizations: by the name that `load` takes, the option `quantization` of an engine that can quantize weights.
    """

    kind: str
    algorithms: Mapping[Capability, int]
    options: Mapping[str, Any] = field(default_factory=dict)
    quantizations: Mapping[str, str] = field(default_factory=dict)

    def quantized(self, name: str | None) -> "EngineSpec":
        """Return the specification for quantized weights; None: unchanged.

        Raises:
            BadInput: the engine has no quantization of that name.
        """
        if name is None:
            return self
        if not isinstance(name, str) or name not in self.quantizations:
            able = ", ".join(self.quantization_names) or "none"
            raise BadInput(f"the engine {self.kind!r} has no quantization {name!r}; it has: {able}")
        return replace(self, options={**self.options, "quantization": self.quantizations[name]})

    @property
    def quantization_names(self) -> tuple[str, ...]:
        """The names that `quantized` takes, for a message."""
        return tuple(self.quantizations)

    def key(self, capability: Capability) -> dict[str, Any]:
        """Return the engine's part of an answer's key.

        Raises:
            BadInput: the engine lacks this capability.
        """
        if capability not in self.algorithms:
            able = ", ".join(self.algorithms) or "nothing"
            raise BadInput(f"the engine {self.kind!r} cannot compute {capability}; it computes: {able}")
        return {"engine": self.kind, "algorithm": self.algorithms[capability], **self.options}


class EngineFactory(Protocol):
    """A kind of engine: resolves the name of a checkpoint to an identity, and opens it. Only `open` loads weights."""

    spec: EngineSpec

    def expect(self, name: str, dtype: str, revision: str | None) -> None:
        """Check a name, dtype and revision without using the network. Raises BadInput or UnknownName."""

    def own_dtype(self, name: str, revision: str | None) -> str:
        """Return the dtype for dtype="auto"; an engine may lack this method. Raises BadInput if it is not known here."""

    def recall(self, name: str, revision: str | None, store: Store) -> Identity | None:
        """Return the identity that a name stands for, from this machine and the store; None if neither has it."""

    def identify(
        self, name: str, revision: str | None, store: Store, *, need_weights: bool = False
    ) -> Identity:
        """Return the identity that a name stands for, or raise NotReachable."""

    def open(
        self, identity: Identity, *, dtype: str, device: str, random_seed: int | None, **quantization: str
    ) -> "Engine":
        """Read the weights and return the engine; `quantization` is passed if the handle has one."""

    def tolerance(self, precision: str) -> float:
        """Return the nats by which batch, device and version may change a log-probability; closer scores are near-ties.

        Args:
            precision: a dtype or, for quantized weights, as "8bit bfloat16".
        """


class Engine(Protocol):
    """A loaded model that computes answers; called by one thread at a time.

    Attributes:
        device_family: "cpu", "cuda", …; stored with the answers.
        libraries: its library versions, "torch 2.13.0, …"; recorded in the store, not part of the key.
    """

    device_family: str
    libraries: str

    @property
    def scores_wide(self) -> bool:
        """Whether scores are computed in float32 although the weights are in half precision."""

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """The lock that is held while the engine computes."""

    def hand_out(self) -> None:
        """Record the state of the model before outside code gets access to it."""

    def changed(self) -> str | None:
        """Return the name of a part that has changed since `hand_out`; None if there is none."""

    def generate(
        self, requests: Sequence[ToGenerate], decoding: Decoding, batch_size: int
    ) -> Iterator[tuple[list[int], list[Decoded]]]:
        """Yield batches of generated texts."""

    def score(
        self, requests: Sequence[ToScore], rule: ScoringRule, options: ComputeOptions
    ) -> Iterator[tuple[list[int], list[TokenScores]]]:
        """Yield batches of scored texts."""

    def read_states(
        self, texts: Sequence[str], reading: StateOptions, batch_size: int, batch_tokens: int | None = None
    ) -> Iterator[tuple[list[int], list[Any]]]:
        """Yield batches of pooled hidden states, float32 arrays of shape (L+1, D)."""


@runtime_checkable
class OpenEngine(Protocol):
    """Optional methods of an engine that can be read and changed inside; its specification has "lens" and "intervene"."""

    def read_lens(
        self, requests: Sequence[ToLens], top: int, batch_size: int, affine: AffineLens | None = None
    ) -> Iterator[tuple[list[int], list[Lens]]]:
        """Yield batches of what each layer says of the next token, through an affine lens if one is given."""

    def read_token_states(
        self, texts: Sequence[TextPositions], stack: Stack, part: Part, batch_size: int
    ) -> Iterator[tuple[list[int], list[Any]]]:
        """Yield batches of the states of tokens, float32 arrays of shape (layers, P, width)."""

    def read_activity(
        self, groups: Sequence[ToCount], batch_size: int
    ) -> Iterator[tuple[list[int], list[Any]]]:
        """Yield the activity of a stack's neurons over each group of texts, float32 arrays of shape (L, 3, n)."""

    def intervened(self, interventions: Sequence[Intervention]) -> Engine:
        """Return an engine with the same weights and lock that makes these interventions whenever it computes."""


@runtime_checkable
class WatchedEngine(Protocol):
    """Optional methods of an engine whose steps can be watched; its specification has "alternatives"."""

    def generate_watched(
        self, requests: Sequence[ToGenerate], decoding: Decoding, batch_size: int, watch: Watch
    ) -> Iterator[tuple[list[int], list[Decoded]]]:
        """As `Engine.generate`; after each token `watch` gets the answer so far, and an exception that it raises ends the call."""

    def read_alternatives(
        self, requests: Sequence[ToScore], top: int
    ) -> Iterator[tuple[list[int], list[TokenAlternatives]]]:
        """Yield batches of the steps of answers with the likeliest tokens in each place."""


@runtime_checkable
class TokenEngine(Protocol):
    """Optional methods of an engine that work on token ids; the service's OpenAI protocol needs them.

    Attributes:
        identity: the identity of the model.
        end: the id of the end token.
        token_count: the number of tokens that the model knows.
    """

    identity: Identity
    end: int
    token_count: int

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of prompts, without the end token that an encoder reads."""

    def decode(self, ids: Sequence[int]) -> Decoded:
        """Return the text of generated tokens up to the end token."""

    def text(self, ids: Sequence[int]) -> str:
        """Return the text of token ids, special tokens included."""

    def names(self, ids: Sequence[int]) -> list[str]:
        """Return the tokens as they are written in the vocabulary."""

    def generate_ids(
        self, requests: Sequence[IdsToGenerate], decoding: Decoding, batch_size: int
    ) -> Iterator[tuple[list[int], list[list[int]]]]:
        """Yield batches of generated token ids, with the end token where there is one."""

    def score_ids(
        self, requests: Sequence[IdsToScore], top: int
    ) -> Iterator[tuple[list[int], list[list[TokenRank]]]]:
        """Yield batches of ranks, one for each token; none for a first token that nothing precedes."""


@lru_cache(maxsize=1)
def engines() -> dict[str, EngineFactory]:
    """Return the installed engines by name: those of this package first, then the registered ones."""
    built_in = (DEFAULT, OF_SERVERS, OF_FILES)
    rooms = {
        kind: import_module(f"workbench.engines.{kind}") for kind in built_in
    }  # imported late, since they import this module
    return {**{kind: room.FACTORY for kind, room in rooms.items()}, **dict(registered("workbench.engines"))}


def engine_for(name: str) -> str:
    """Return the name of the engine that opens a model if none is chosen."""
    if is_served(name):
        return OF_SERVERS
    return OF_FILES if is_gguf(name) else DEFAULT


def engine_called(kind: str) -> EngineFactory:
    """Return an engine's factory.

    Raises:
        UnknownName: no engine of that name; the message lists the installed ones.
    """
    if kind not in engines():
        raise UnknownName(f"no engine called {kind!r}; installed are: {', '.join(engines())}")
    return engines()[kind]


def served(model: Any) -> "Engine | None":
    """Return an engine for a handle in the running service; None if there is none (`workbench.engines.client`)."""
    client = import_module("workbench.engines.client")  # imported late, since it imports `workbench.models`
    found: Engine | None = client.find(model)
    return found
