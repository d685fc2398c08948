"""The handle of a model: its identity, its engine, and its name in records."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import version
from threading import RLock
from typing import Any, Literal, cast

from workbench.errors import BadInput
from workbench.family import Badge, badge_of, family_of
from workbench.models.engines import (
    DEFAULT,
    OF_FILES,
    Capability,
    Engine,
    EngineFactory,
    EngineSpec,
    OpenEngine,
    engine_called,
    served,
)
from workbench.models.identity import Identity, expect_unchanged, randomized
from workbench.models.interventions import Intervention, digest_of
from workbench.models.memory import expect_room
from workbench.models.tally import Audit, Tally
from workbench.run_log import note
from workbench.store import Store

Dtype = Literal["float32", "bfloat16", "float16"]
Quantization = Literal["8bit", "4bit"]
_READING = RLock()  # one thread reads weights at a time


@dataclass
class Model:
    """A lazy handle for a model, made by `load`; weights are read only when they are needed, here or in a running service.

    Attributes:
        name: as given to `load`.
        dtype: the dtype of the weights; files in another precision are cast.
        device: "auto" (all available GPUs, else the CPU), "cpu", "cuda", "cuda:1", "mps", "offload" ("auto", and the disk).
        store: where its answers are kept.
        kind: the name of its engine in the registry.
        quantization: "8bit" or "4bit" if the weights are quantized when they are read; `dtype` is then that of the others. Or a
            simulation's name (`workbench.models.simulated`).
        tally: numbers of answers taken from the store and computed through this handle.
        audits: by protocol, the results of the check in which `rank` scores some items again.
        interventions: the changes to its states, made by `intervened`; `origin` is the handle without them, whose weights it uses.
    """

    name: str
    dtype: Dtype = "float32"
    device: str = "auto"
    revision: str | None = None
    store: Store = field(default_factory=Store)
    same_device: bool = False
    random_seed: int | None = None
    kind: str = DEFAULT
    quantization: str | None = None
    tally: Tally = field(default_factory=Tally)
    audits: dict[str, Audit] = field(default_factory=dict)
    interventions: tuple[Intervention, ...] = ()
    origin: "Model | None" = field(default=None, repr=False)

    @cached_property
    def identity(self) -> Identity:
        """Digests, hub commit and architecture; needs no torch and, if the store remembers them, no weights."""
        found = self._factory.identify(self.name, self.revision, self.store)
        if self.random_seed is not None:
            made_by = f"torch {version('torch')}, transformers {version('transformers')}"
            return randomized(found, self.random_seed, made_by)
        return found

    @property
    def architecture(self) -> str:
        """The model type in the configuration: "bloom", "mt5", …"""
        return self.identity.architecture

    @property
    def is_encoder_decoder(self) -> bool:
        """Whether an encoder reads the prompt (mT5, mT0) rather than the decoder (BLOOM, BLOOMZ)."""
        return self.identity.is_encoder_decoder

    @property
    def badge(self) -> Badge:
        """The provenance of its results: SYNTHETIC for a checkpoint of an artificial world, else MEASURED."""
        return badge_of(self.name)

    @property
    def label(self) -> str:
        """The name in a run's manifest: with the revision, if given, the dtype, if not float32, and the quantization."""
        dtype = None if self.dtype == "float32" else self.dtype
        changed = f"intervention {digest_of(self.interventions)[:8]}" if self.interventions else None
        return ", ".join(filter(None, [self.identity.name, self.revision, dtype, self.quantization, changed]))

    @property
    def precision(self) -> str:
        """The dtype, "8bit bfloat16" for quantized weights of which the others are in bfloat16, or the type of a GGUF file."""
        if self.kind == OF_FILES:
            return str(self.identity.file_type)
        return f"{self.quantization} {self.dtype}" if self.quantization else self.dtype

    @cached_property
    def engine(self) -> Engine:
        """The engine with its weights loaded, in a running service or else in this process."""
        with _READING:
            if "engine" in vars(self):  # another thread has just loaded it
                return vars(self)["engine"]
            if self.origin is not None:
                return cast(OpenEngine, self.origin.engine).intervened(self.interventions)
            elsewhere = None if self.identity.source == "endpoint" else served(self)
            engine = elsewhere or self.fresh_engine()
            note(models={self.label: {"computed_in": _place(engine)}})
            return engine

    def intervened(self, *interventions: Intervention) -> "Model":
        """Return a handle for this model with changes to its states (`workbench.models.interventions`), which share its weights.

        `generate`, `rank`, `score`, `hidden_states` and `token_states` work on it as on any model; its answers are stored under the
        digest of the interventions, so that they are never taken for the model's own. They are made in turn; a handle that has some
        already makes the new ones after them.

        Raises:
            BadInput: none are given, or its engine cannot make them. What does not fit the model is refused when it computes.
        """
        self.spec.key("intervene")
        if not interventions or not all(isinstance(each, Intervention) for each in interventions):
            raise BadInput("give at least one workbench.Intervention")
        return replace(
            self,
            tally=Tally(),
            audits={},
            interventions=(*self.interventions, *interventions),
            origin=self.origin or self,
        )

    @property
    def where(self) -> str:
        """Where it computes: "not loaded", "this process", or "the service at" or "the server at" an address."""
        return _place(vars(self).get("engine"))

    def renew(self) -> None:
        """Drop an engine whose service has ended; the next call finds another service, or loads the model in this process."""
        if self.origin is not None:
            self.origin.renew()
        engine = vars(self).get("engine")
        if engine is not None and not getattr(engine, "is_up", lambda: True)():
            del self.__dict__["engine"]

    @contextmanager
    def computing(self) -> Iterator[Engine]:
        """Yield the engine, locked for this thread, if it still is the unmodified checkpoint.

        Raises:
            BadInput: the model was modified through `hf`.
        """
        engine = self.engine
        with engine.lock:
            if (part := engine.changed()) is not None:
                raise BadInput(
                    f"{part} of {self.name} was changed through model.hf, so its answers are not the checkpoint's "
                    f"and are not stored; undo the change, compute with model.hf.model itself, or load a new handle: load({self.name!r})"
                )
            yield engine

    def fresh_engine(self) -> Engine:
        """Return a new engine that no handle uses, for callers that change its weights; this handle drops its own engine.

        Raises:
            BadInput: too little memory is free; the message says what would fit. Or as `read_weights`.
            NotReachable: the weights are not here, and the hub cannot be reached.
        """
        if self.origin is not None:
            raise BadInput(
                "a model with interventions is neither trained nor converted; use the model itself"
            )
        self.__dict__.pop("engine", None)
        identity = self.identity
        if not identity.is_available:  # answers are stored, but the weights are not on this machine
            found = self._factory.identify(self.name, self.revision, self.store, need_weights=True)
            if self.random_seed is None and (found.weights, found.tokenizer) != (
                identity.weights,
                identity.tokenizer,
            ):
                raise BadInput(
                    f"{self.name} has changed on the hub since its answers were stored; name a revision"
                )
            identity = replace(identity, folder=found.folder, file=found.file, states=found.states)
            self.__dict__["identity"] = identity
        if self.kind in (DEFAULT, OF_FILES):
            expect_room(
                identity,
                self.dtype,
                self.device,
                is_drawn=self.random_seed is not None,
                quantization=self.quantization,
            )
        quantization = {"quantization": str(self.quantization)} if self.quantization else {}
        engine = self._factory.open(
            identity, dtype=self.dtype, device=self.device, random_seed=self.random_seed, **quantization
        )
        self.expect_unchanged()
        return engine

    def expect_unchanged(self) -> None:
        """Check that the files still have the content that gave this handle's identity; called before answers are stored.

        Raises:
            BadInput: they have changed.
        """
        expect_unchanged(self.identity, self.store)

    @property
    def hf(self) -> Any:
        """The transformers model and tokenizer, as `model.hf.model` and `model.hf.tokenizer`, for use with other tools.

        They are the objects that this handle uses, not copies. If one is modified (a weight, a hook, a module, a setting), the
        handle refuses to compute, so that no answer of a modified model is stored. Each later call that computes checks this, at
        about 4 GB of weights per second on a CPU. A handle that used a service loads the model in this process now.
        """
        if self.origin is not None:
            raise BadInput(
                "model.hf of a model with interventions has none of them; use that of the model itself"
            )
        if self.where != "this process":
            self.__dict__["engine"] = self.fresh_engine()
        self.engine.hand_out()
        return self.engine

    @property
    def spec(self) -> EngineSpec:
        """The specification of its engine, which is part of the key of every answer."""
        return self._factory.spec.quantized(self.quantization)

    @property
    def tolerance(self) -> float:
        """Nats by which batch composition, device and library version may change a log-probability."""
        return self._factory.tolerance(self.precision)

    def fingerprint(self, capability: Capability) -> dict[str, Any]:
        """Return the model's part of an answer's key: everything about it that can change an answer.

        Raises:
            BadInput: its engine lacks this capability.
        """
        return {**self._weights(), **self.spec.key(capability), **self._changes()}

    def _changes(self) -> dict[str, Any]:
        if not self.interventions:
            return {}
        return {
            "interventions": digest_of(self.interventions),
            "intervening": self.spec.key("intervene")["algorithm"],
        }

    def _weights(self) -> dict[str, str]:
        identity = self.identity
        precision = identity.file_type or self.dtype
        return {"weights": identity.weights, "tokenizer": identity.tokenizer, "dtype": precision}

    @property
    def _factory(self) -> EngineFactory:
        return engine_called(self.kind)

    @property
    def provenance(self) -> dict[str, Any]:
        """The model's entry in a manifest: digests, source on the hub, dtype, quantization, and whether these are only declared."""
        identity = self.identity
        return {
            "weights_digest": identity.weights,
            "tokenizer_digest": identity.tokenizer,
            "hub_id": identity.hub_id,
            "commit": identity.commit,
            "dtype": identity.file_type or self.dtype,
            "quantization": self.quantization,
            **({"interventions": digest_of(self.interventions)} if self.interventions else {}),
            **({"declared": True} if identity.source == "endpoint" else {}),
        }

    def check_prompts(self, prompts: list[str]) -> None:
        """Warn about prompts that the model's family declares unsuitable."""
        family = family_of(self.name)
        warning = family.check_prompts(prompts) if family and family.check_prompts else None
        if warning:
            warnings.warn(f"{self.name}: {warning}", stacklevel=3)


def _place(engine: Engine | None) -> str:
    if engine is None:
        return "not loaded"
    address = getattr(engine, "address", None)
    what = "server" if engine.device_family == "remote" else "service"
    return f"the {what} at {address}" if address else "this process"
