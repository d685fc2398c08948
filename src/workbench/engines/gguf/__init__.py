"""The engine for GGUF files, computed by llama.cpp: BLOOM and mT5, from float32 to 2 bits.

Prompts are encoded by the tokenizer of the checkpoint that a file was made of; llama.cpp sees token ids only. The version of
llama.cpp is part of the key of every answer, and the digest of the file is that of the weights.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

from workbench.errors import BadInput
from workbench.models import gguf
from workbench.models.engines import OF_FILES, Engine, EngineSpec
from workbench.models.identity import Identity
from workbench.store import Store

_TRIED = "0.3.36"  # answers of this version are found where none is installed
LIBRARY = "llama-cpp-python"
EXACT = 0.03  # nats; F32 and F16 differ from transformers in float32 by up to .032 (the miniatures)
NEAR = 0.1  # nats; other types round activations too: batches moved a sum of the miniatures' by up to .097


def _version() -> str:
    try:
        return version(LIBRARY)
    except PackageNotFoundError:
        return _TRIED


SPEC = EngineSpec(
    kind=OF_FILES,
    algorithms={"generate": 1, "score": 1, "alternatives": 1},
    options={"library": f"{LIBRARY} {_version()}"},
)


class Factory:
    """The factory for GGUF files; see `workbench.models.engines.EngineFactory`."""

    spec = SPEC

    def expect(self, name: str, dtype: str, revision: str | None) -> None:
        """Check that a name is that of a GGUF file of BLOOM or mT5, and that no dtype is chosen.

        Raises:
            BadInput, UnknownName: it is not, or a dtype other than float32 is named.
        """
        if dtype != "float32":
            raise BadInput(
                f"{name} has its precision in the file; leave out dtype={dtype!r}, or choose a file of another type"
            )
        place = gguf.place_of(name, revision)
        if place.path is not None:
            gguf.expect_gguf(place.path)

    def own_dtype(self, name: str, revision: str | None) -> str:
        """Return "float32", in which results are given."""
        return "float32"

    def recall(self, name: str, revision: str | None, store: Store) -> Identity | None:
        """Return the identity that a name stands for, from this machine and the store; None if neither has it."""
        return gguf.recall(name, revision, store)

    def identify(
        self, name: str, revision: str | None, store: Store, *, need_weights: bool = False
    ) -> Identity:
        """Return the identity that a name stands for, or raise NotReachable."""
        return gguf.identify(name, revision, store, need_weights=need_weights)

    def open(self, identity: Identity, *, dtype: str, device: str, random_seed: int | None) -> Engine:
        """Check the file, have llama.cpp read it, and return the engine.

        Raises:
            BadInput: llama.cpp is not installed, the file or its tokenizer does not fit, or random weights are asked for.
        """
        if random_seed is not None:
            raise BadInput(
                f"{identity.name} is a file of weights; leave out random_seed={random_seed}, or load the checkpoint itself"
            )
        engine: Engine = import_module("workbench.engines.gguf.engine").opened(identity, device)
        return engine

    def tolerance(self, precision: str) -> float:
        """Return the nats for the type of a file."""
        return EXACT if precision in ("F32", "F16") else NEAR


FACTORY = Factory()
