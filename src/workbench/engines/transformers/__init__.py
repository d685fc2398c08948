"""The engine on transformers and torch: BLOOM, mT5 and any other causal or encoder-decoder checkpoint."""

from importlib import import_module

from workbench.errors import BadInput
from workbench.models.engines import Engine, EngineSpec
from workbench.models.identity import Identity, identify, recall
from workbench.models.places import architecture_of, locate

SPEC = EngineSpec(
    kind="transformers",
    algorithms={
        "generate": 1,  # covers `decoding`, `sampling` and the encoding of prompts
        "score": 1,  # covers `log_probabilities` and the encoding of prompts and texts
        "states": 1,  # covers `states` and the encoding of texts
    },
    options={"quantization": None},
)
NEAR = {  # nats by which batch, device and version may change a score; a smaller margin or lead is a near-tie
    "float32": 1e-4,  # guaranteed and tested
    "float16": 0.05,  # not measured
    "bfloat16": 0.6,  # the largest difference measured, from lm-evaluation-harness (data/benchmarks/results.md)
}
_OVERFLOWS = ("t5", "mt5", "umt5")  # activations beyond 65,504: transformers issues 5651, 9295, 10819


class Factory:
    """The factory for checkpoints in folders and on the hub; see `workbench.models.engines.EngineFactory`."""

    spec = SPEC

    def expect(self, name: str, dtype: str, revision: str | None) -> None:
        """Check that a name is one of a family, a folder or a hub id, and that the model does not overflow in float16."""
        place = locate(name, revision)
        if dtype == "float16":
            _expect_no_overflow(name, dtype, architecture_of(place))

    recall = staticmethod(recall)
    identify = staticmethod(identify)

    def open(self, identity: Identity, *, dtype: str, device: str, random_seed: int | None) -> Engine:
        """Import torch, read the weights and return the engine."""
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
