"""The engine on transformers and torch: BLOOM, mT5 and any other causal or encoder-decoder checkpoint."""

import warnings
from dataclasses import dataclass, replace
from importlib import import_module

from workbench.errors import BadInput
from workbench.family import BYTES_PER_PARAMETER
from workbench.models.engines import Engine, EngineSpec
from workbench.models.identity import Identity, identify, recall
from workbench.models.places import architecture_of, dtype_of, locate
from workbench.models.simulated import NAMES as SIMULATIONS
from workbench.models.simulated import Simulated


@dataclass(frozen=True)
class Spec(EngineSpec):
    """An engine's specification whose quantizations may be simulated, too."""

    def quantized(self, name: str | None) -> EngineSpec:
        """As `EngineSpec.quantized`; "rtn4" and "noise4:0" are in the key by what they do (`workbench.models.simulated`)."""
        if isinstance(name, str) and (simulated := Simulated.read(name)) is not None:
            return replace(self, options={**self.options, "quantization": simulated.setting})
        return super().quantized(name)

    @property
    def quantization_names(self) -> tuple[str, ...]:
        """As `EngineSpec.quantization_names`, and the simulations'."""
        return (*super().quantization_names, *SIMULATIONS)


SPEC = Spec(
    kind="transformers",
    algorithms={
        "generate": 1,  # covers `decoding`, `sampling` and the encoding of prompts
        "score": 1,  # covers `log_probabilities` and the encoding of prompts and texts
        "states": 1,  # covers `states` and the encoding of texts
        "intervene": 1,  # covers `hooks`
        "lens": 2,  # covers `lens` and the encoding of prompts and words
        "alternatives": 1,  # covers `alternatives`, `log_probabilities` and the encoding of prompts and answers
    },
    options={"quantization": None},
    quantizations={  # the settings of `quantized.settings`
        "8bit": "8bit bitsandbytes, threshold 0.0",
        "4bit": "4bit bitsandbytes, nf4, blocks of 64",
    },
)
TOLERANCES = {  # nats by which batch, device and version may change a score; a smaller margin or lead is a near-tie
    "float32": 1e-4,  # guaranteed and tested
    "float16": 0.05,  # not measured
    "8bit": 0.02,  # estimated for large models: rounding can move an activation to the next integer; the miniatures: 2e-5
    "4bit": 0.05,  # not measured on GPUs, nor on processors where bitsandbytes multiplies in bfloat16; elsewhere 2e-5
    "bfloat16": 0.6,  # the largest difference measured, from lm-evaluation-harness (docs/benchmarks.md)
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

    def own_dtype(self, name: str, revision: str | None) -> str:
        """Return the dtype of the published weights; float32 for an mT5 in float16, in which it overflows.

        Raises:
            BadInput: config.json is not on this machine, or gives a dtype that is not offered.
        """
        place = locate(name, revision)
        dtype = dtype_of(place)
        if dtype is None:
            raise BadInput(
                f"the dtype of {name} is in its config.json, which is not on this machine; name a dtype, or fetch it first: "
                f"hf download {place.hub_id}"
            )
        if dtype == "float16" and architecture_of(place) in _OVERFLOWS:
            warnings.warn(
                f"{name} is published in float16, in which mT5 overflows: it is loaded in float32, which holds the same values",
                stacklevel=4,
            )
            return "float32"
        if dtype not in BYTES_PER_PARAMETER:
            raise BadInput(f"{name} is published in {dtype}; choose one of: {', '.join(BYTES_PER_PARAMETER)}")
        return dtype

    recall = staticmethod(recall)
    identify = staticmethod(identify)

    def open(
        self, identity: Identity, *, dtype: str, device: str, random_seed: int | None, **quantization: str
    ) -> Engine:
        """Import torch, read the weights and return the engine."""
        _expect_no_overflow(identity.name, dtype, identity.architecture)
        room = import_module("workbench.engines.transformers.engine")
        engine: Engine = room.TransformersEngine(
            identity, dtype=dtype, device=device, random_seed=random_seed, **quantization
        )
        return engine

    def tolerance(self, precision: str) -> float:
        """Return the largest entry of `TOLERANCES` for a dtype, or for a quantization and a dtype; simulations have only their dtype's."""
        return max(TOLERANCES[part] for part in precision.split() if Simulated.read(part) is None)


FACTORY = Factory()


def _expect_no_overflow(name: str, dtype: str, architecture: str | None) -> None:
    if dtype == "float16" and architecture in _OVERFLOWS:
        raise BadInput(f"{name}: mT5 and T5 overflow when they compute in float16; use bfloat16 or float32")
