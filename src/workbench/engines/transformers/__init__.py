"""The engine on transformers and torch: BLOOM, mT5 and any other causal or encoder-decoder checkpoint."""

from importlib import import_module

from workbench.errors import BadInput
from workbench.models.engines import Engine, EngineSpec
from workbench.models.identity import Identity, architecture_of, identify, locate, recall
from workbench.store import Store

SPEC = EngineSpec(
    kind="transformers",
    algorithms={
        "generate": 1,  # `decoding`, `sampling`, and prompts as `encoding` reads them
        "score": 1,  # `scoring`, and prompts and texts as `encoding` reads them
        "states": 1,  # `states`, and texts as `encoding` reads them
    },
    options={"quantization": None},
)
NEAR = {  # nats by which batch, device and version may move a score; a margin or lead below it is a near-tie
    "float32": 1e-4,  # promised, and tested
    "float16": 0.05,  # not measured
    "bfloat16": 0.6,  # the largest difference measured, from lm-evaluation-harness (data/benchmarks/results.md)
}
_OVERFLOWS = ("t5", "mt5", "umt5")  # activations beyond 65,504: transformers issues 5651, 9295, 10819


class Factory:
    """Opens checkpoints of folders and of the hub; see `workbench.models.engines.EngineFactory`."""

    spec = SPEC

    def expect(self, name: str, dtype: str, revision: str | None) -> None:
        """Refuse what is neither a name of a family, a folder nor a hub id, and float16 where it overflows."""
        locate(name, revision)
        if dtype == "float16":
            _expect_no_overflow(name, dtype, architecture_of(name, revision))

    def recall(self, name: str, revision: str | None, store: Store) -> Identity | None:
        """From the files here, else from the store's memory."""
        return recall(name, revision, store)

    def identify(
        self, name: str, revision: str | None, store: Store, *, need_weights: bool = False
    ) -> Identity:
        """As `recall`, else from the hub."""
        return identify(name, revision, store, need_weights=need_weights)

    def open(self, identity: Identity, *, dtype: str, device: str, random_seed: int | None) -> Engine:
        """Import torch and read the weights."""
        _expect_no_overflow(identity.name, dtype, identity.architecture)
        room = import_module("workbench.engines.transformers.engine")
        engine: Engine = room.TransformersEngine(
            identity, dtype=dtype, device=device, random_seed=random_seed
        )
        return engine

    def tolerance(self, dtype: str) -> float:
        """Return the entry of `NEAR`."""
        return NEAR[dtype]


FACTORY = Factory()


def _expect_no_overflow(name: str, dtype: str, architecture: str | None) -> None:
    if dtype == "float16" and architecture in _OVERFLOWS:
        raise BadInput(f"{name}: mT5 and T5 overflow when they compute in float16; use bfloat16 or float32")
