"""Changes to a model's states during its forward pass: patch, add, erase, ablate. Plain records; does not import torch.

Layers are numbered as in `hidden_states`: 0 is what the embeddings give to the first block, 1…L are the outputs of the blocks, where L is the
last block's output before the final norm. Positions count the tokens that a stack reads: a decoder-only model's decoder reads the prompt and
then the answer; an encoder reads the prompt and its end token; the decoder behind it reads its start token and then the answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal, get_args

import numpy as np

from workbench.errors import BadInput
from workbench.models.packed_arrays import kept, packed, unpacked
from workbench.models.requests import Stack
from workbench.store import canonical

Kind = Literal["patch", "add", "erase", "ablate"]
Positions = Literal["all", "last"] | tuple[int, ...]
KINDS = get_args(Kind)
_ARRAYS = ("array", "readout", "center")


@dataclass(frozen=True, eq=False)
class Intervention:
    """One change to the states of a stack, made whenever the model computes.

    Attributes:
        kind: "patch": states become `array`; "add": `array` is added; "erase": ``((state - center) @ readout.T) @ array`` is subtracted, which
            for orthonormal rows projects their subspace out; "ablate": MLP neurons get fixed values.
        layers: the layers where it happens; for "ablate", one block from 1 to L.
        array: patch: (layers, D), or (layers, P, D) for P positions. add: (D,) or (layers, D). erase: (r, D). ablate: the values (n,) of n
            neurons. Kept in float32; the model uses it in the dtype of its states.
        stack: "decoder" or "encoder".
        positions: "all"; "last", the place that predicts the answer's first token (in an encoder: the end token); or places, of which
            negative ones count from the end of the prompt.
        prompts: the prompts to which it applies; None: all. With one intervention per prompt, many prompts are patched in one batch.
        readout, center: of "erase", (r, D) and (D,); by default the array's rows and 0.
        neurons: of "ablate", (n,): the units between the two matrices of the block's MLP.
        of: "states"; or "cross_attention", what the blocks 1 to L of a decoder add from the encoder, before it is added.
    """

    kind: Kind
    layers: tuple[int, ...]
    array: np.ndarray
    stack: Stack = "decoder"
    positions: Positions = "all"
    prompts: tuple[str, ...] | None = None
    readout: np.ndarray | None = None
    center: np.ndarray | None = None
    neurons: tuple[int, ...] = ()
    of: Literal["states", "cross_attention"] = "states"

    def __post_init__(self) -> None:
        """Check the fields against each other, and take copies of the arrays that nobody changes.

        Raises:
            BadInput: the message names the field and what it may be.
        """
        if self.kind not in KINDS or self.stack not in get_args(Stack):
            raise BadInput(
                f"kind={self.kind!r}, stack={self.stack!r}; kind is one of {', '.join(KINDS)}, stack encoder or decoder"
            )
        is_state = self.of == "states" or (self.of == "cross_attention" and self.kind != "ablate")
        if not is_state or (
            self.of != "states" and (self.stack == "encoder" or 0 in np.atleast_1d(self.layers))
        ):
            raise BadInput(
                f"of={self.of!r}; patch, add or erase 'states', or in a decoder's blocks from 1 on 'cross_attention'"
            )
        for name in ("layers", "neurons"):
            object.__setattr__(self, name, _whole(name, getattr(self, name)))
        if not isinstance(self.positions, str):
            object.__setattr__(self, "positions", _whole("positions", self.positions, least=None))
        elif self.positions not in ("all", "last"):
            raise BadInput(f"positions={self.positions!r}; give 'all', 'last' or whole numbers")
        if self.prompts is not None:
            object.__setattr__(self, "prompts", tuple(self.prompts))
        for name in _ARRAYS:
            if (given := getattr(self, name)) is not None:
                object.__setattr__(self, name, kept(name, given))
        self._expect_shapes()

    def _expect_shapes(self) -> None:
        layers, shape = len(self.layers), self.array.shape
        places = None if isinstance(self.positions, str) else len(self.positions)
        by_kind: dict[Kind, list[tuple[Any, ...]]] = {
            "patch": [(layers, "D"), *([(layers, places, "D")] if places else [])],
            "add": [("D",), (layers, "D")],
            "erase": [("r", "D")],
            "ablate": [(len(self.neurons),)],
        }
        allowed = by_kind[self.kind]
        if not layers or not any(_fits(shape, each) for each in allowed):
            forms = " or ".join(str(each).replace("'", "") for each in allowed)
            raise BadInput(
                f"{self.kind} with {layers} layers needs an array of shape {forms}; this one has {shape}"
            )
        for name, form in (("readout", shape), ("center", shape[-1:])):
            given = getattr(self, name)
            if given is not None and (self.kind != "erase" or given.shape != form):
                raise BadInput(f"{name} is for erase and has the shape {form} there; it has {given.shape}")
        if (self.kind == "ablate") != bool(self.neurons) or (
            self.kind == "ablate" and (layers > 1 or 0 in self.layers)
        ):
            raise BadInput(
                "ablate, and nothing else, takes neurons, at least one, of one block, numbered from 1"
            )

    @property
    def width(self) -> int | None:
        """D, the width of the states that it fits; None for neurons."""
        return None if self.kind == "ablate" else self.array.shape[-1]

    @property
    def digest(self) -> str:
        """A hash of everything about it."""
        return sha256(canonical(self.as_json()).encode()).hexdigest()

    def as_json(self) -> dict[str, Any]:
        """Return its fields as JSON, for a key and for the service; `from_json` reads them."""
        arrays = {name: None if (array := getattr(self, name)) is None else packed(array) for name in _ARRAYS}
        return {
            "kind": self.kind,
            "layers": list(self.layers),
            "stack": self.stack,
            "positions": self.positions if isinstance(self.positions, str) else list(self.positions),
            "prompts": None if self.prompts is None else list(self.prompts),
            "neurons": list(self.neurons),
            **arrays,
            **({} if self.of == "states" else {"of": self.of}),
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Intervention":
        """Return the intervention that `as_json` described."""
        arrays = {name: None if fields[name] is None else unpacked(fields[name]) for name in _ARRAYS}
        return cls(**{**fields, **arrays})


def digest_of(interventions: Sequence[Intervention]) -> str:
    """Return a hash of interventions; their order counts, since they are made in turn."""
    return sha256(" ".join(each.digest for each in interventions).encode()).hexdigest()


def expect_fitting(interventions: Sequence[Intervention], depths: Mapping[Stack, int], width: int) -> None:
    """Check interventions against a model: its number of blocks by stack, and the width of its states.

    Raises:
        BadInput: a stack or layer that the model lacks, or another width.
    """
    for each in interventions:
        if each.stack not in depths:
            raise BadInput(f"the model is decoder-only and has no {each.stack}; use stack='decoder'")
        if each.of == "cross_attention" and "encoder" not in depths:
            raise BadInput("the model is decoder-only and has no cross-attention; patch its states")
        if (last := max(each.layers)) > depths[each.stack]:
            raise BadInput(
                f"layer {last} of the {each.stack}, which has the layers 0 to {depths[each.stack]}"
            )
        if each.width not in (None, width):
            raise BadInput(f"{each.kind}: the array is {each.width} wide, the model's states are {width}")


def _whole(name: str, given: Any, least: int | None = 0) -> tuple[int, ...]:
    try:
        found = tuple(int(each) for each in np.atleast_1d(np.asarray(given)).tolist())
        exact = found == tuple(np.atleast_1d(np.asarray(given)).tolist())
    except (TypeError, ValueError):
        exact = False
    if not exact or len({*found}) < len(found) or (least is not None and any(each < least for each in found)):
        raise BadInput(
            f"{name}={given!r}; give different whole numbers" + ("" if least is None else f" from {least}")
        )
    return found


def _fits(shape: tuple[int, ...], wanted: Sequence[Any]) -> bool:
    return len(shape) == len(wanted) and all(
        have > 0 and need in (have, "D", "r") for have, need in zip(shape, wanted, strict=True)
    )
