"""The engine for models on OpenAI-compatible servers that echo prompts with log-probabilities: vLLM, and `workbench serve`.

`http://host:8000/v1#bloomz` is a model on a server. Which weights it has is declared, after the `#` and by the revision, and
cannot be verified: answers are keyed by what is declared and marked so, and are never taken for those of weights that were
read. The server's address is not in the key. The tokenizer is that of the declared checkpoint, on this machine.
"""

from dataclasses import replace
from importlib import import_module

from workbench.engines.openai import declared
from workbench.errors import BadInput
from workbench.family import served_name
from workbench.models.engines import OF_SERVERS, Engine, EngineSpec
from workbench.models.identity import Identity

SPEC = EngineSpec(
    kind=OF_SERVERS,
    algorithms={"generate": 1, "score": 1, "alternatives": 1},
    options={"declared": True},
)
TOLERANCES = {  # nats, as for transformers, by the dtype that the server is declared to compute in
    "float32": 0.05,  # measured: vLLM 0.32 differs from transformers by up to .031 (a sum over 2 to 8 tokens)
    "float16": 0.05,
    "bfloat16": 0.6,
}


class Factory:
    """The factory for models on servers; see `workbench.models.engines.EngineFactory`."""

    spec = SPEC

    def expect(self, name: str, dtype: str, revision: str | None) -> None:
        """Check the form of the name, and that the declared checkpoint is one of a family, a folder or a hub id."""
        declared.place_of(name, revision)

    recall = staticmethod(declared.recall)
    identify = staticmethod(declared.identify)

    def open(self, identity: Identity, *, dtype: str, device: str, random_seed: int | None) -> Engine:
        """Read the tokenizer, connect to the server, and check that it gives what scores need."""
        if random_seed is not None or device != "auto":
            given = f"device={device!r}" if random_seed is None else f"random_seed={random_seed}"
            raise BadInput(
                f"{identity.name} is on a server, which decides on its weights and its device; leave out {given}"
            )
        local = replace(identity, folder=declared.tokenizer_folder(identity.name, identity.commit))
        opening = import_module("workbench.engines.openai.opening")  # late: it imports transformers and httpx
        engine: Engine = opening.opened(local, served_name(identity.name), dtype)
        return engine

    def tolerance(self, dtype: str) -> float:
        """Return the entry of `TOLERANCES`."""
        return TOLERANCES[dtype]


FACTORY = Factory()
