"""Which engines there are, and what a new one must do. No engine is imported before it has to compute.

An engine plugs in through the entry point group `workbench.engines`: a name, and an `EngineFactory`. It takes whole lists
of requests and yields finished batches as (positions, answers), in the order that suits it, so that the caller can commit
batch by batch; equal requests must give equal answers, whatever else is in the batch, within the factory's tolerance.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from typing import Any, Literal, Protocol

from workbench.errors import BadInput, UnknownName
from workbench.family import plugged
from workbench.models.identity import Identity
from workbench.models.requests import (
    Decoded,
    Decoding,
    Effort,
    ScoringRule,
    ToGenerate,
    TokenScores,
    ToRead,
    ToScore,
)
from workbench.store import Store

Capability = Literal["generate", "score", "states"]
DEFAULT = "transformers"


@dataclass(frozen=True)
class EngineSpec:
    """How answers are computed; all of it is part of their key in the store.

    Attributes:
        kind: the engine's name in the registry.
        algorithms: for each of its capabilities the version of its algorithm. Raise a number when the same request to the
            same checkpoint would give another answer than before, beyond rounding: old answers stay in the store, and
            are not used again.
        options: whatever else of the engine changes an answer, such as a quantization.
    """

    kind: str
    algorithms: Mapping[Capability, int]
    options: Mapping[str, Any] = field(default_factory=dict)

    def key(self, capability: Capability) -> dict[str, Any]:
        """The engine's part of an answer's key.

        Raises:
            BadInput: the engine cannot do that.
        """
        if capability not in self.algorithms:
            able = ", ".join(self.algorithms) or "nothing"
            raise BadInput(f"the engine {self.kind!r} gives no {capability}; it gives: {able}")
        return {"engine": self.kind, "algorithm": self.algorithms[capability], **self.options}


class EngineFactory(Protocol):
    """A kind of engine: says which checkpoint a name stands for, and opens it. None of it reads weights but `open`."""

    spec: EngineSpec

    def expect(self, name: str, dtype: str, revision: str | None) -> None:
        """Refuse a name, dtype or revision that cannot be; asks no network. Raises BadInput or UnknownName."""

    def recall(self, name: str, revision: str | None, store: Store) -> Identity | None:
        """Say which checkpoint a name stands for, as far as this machine and the store know."""

    def identify(
        self, name: str, revision: str | None, store: Store, *, need_weights: bool = False
    ) -> Identity:
        """Say which checkpoint a name stands for, or raise NotReachable."""

    def open(self, identity: Identity, *, dtype: str, device: str, random_seed: int | None) -> "Engine":
        """Read the weights."""

    def tolerance(self, dtype: str) -> float:
        """Nats by which batch, device and version may move a log-probability: what is nearer than that is a near-tie."""


class Engine(Protocol):
    """What computes answers: it holds the weights, and is asked by one thread at a time.

    Attributes:
        device_family: "cpu", "cuda", …: kept with the answers.
        libraries: what it computes with, "torch 2.13.0, …": recorded in the store, and no part of the key.
    """

    device_family: str
    libraries: str

    @property
    def scores_wide(self) -> bool:
        """Whether it scores in float32 though its weights are in half precision."""

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """Held while it computes."""

    def hand_out(self) -> None:
        """Note what it is, before somebody else has its model in hand."""

    def changed(self) -> str | None:
        """Name a part that was changed since; None where none was."""

    def generate(
        self, requests: Sequence[ToGenerate], decoding: Decoding, batch_size: int
    ) -> Iterator[tuple[list[int], list[Decoded]]]:
        """Yield batches of generated texts."""

    def score(
        self, requests: Sequence[ToScore], rule: ScoringRule, effort: Effort
    ) -> Iterator[tuple[list[int], list[TokenScores]]]:
        """Yield batches of scored texts."""

    def read_states(
        self, texts: Sequence[str], reading: ToRead, batch_size: int
    ) -> Iterator[tuple[list[int], list[Any]]]:
        """Yield batches of pooled hidden states, float32 arrays of shape (L+1, D)."""


@lru_cache(maxsize=1)
def engines() -> dict[str, EngineFactory]:
    """The engines that are installed, by name: the one on transformers, then those that plug in."""
    built_in = import_module("workbench.engines.transformers")  # on first use: it stands on this room
    return {DEFAULT: built_in.FACTORY, **dict(plugged("workbench.engines"))}


def engine_called(kind: str) -> EngineFactory:
    """Find an engine.

    Raises:
        UnknownName: there is none by that name; the message lists those there are.
    """
    if kind not in engines():
        raise UnknownName(f"no engine called {kind!r}; installed are: {', '.join(engines())}")
    return engines()[kind]
