"""The model that a client requests from a service: the digests of a checkpoint, its engine, and library versions."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from workbench.errors import BadInput, UnknownName
from workbench.family import find, is_gguf, is_served
from workbench.models import Model
from workbench.paths import expanded
from workbench.store import canonical

_LIBRARIES = ("torch", "transformers", "tokenizers")
_QUANTIZING = "bitsandbytes"
_DECISIVE = ("weights", "tokenizer", "algorithms", "options", "versions")  # can change an answer


@dataclass(frozen=True)
class Wanted:
    """A model as `load` names it, and everything that must be the same in the service for equal answers."""

    name: str
    revision: str | None
    kind: str
    dtype: str
    device: str
    random_seed: int | None
    quantization: str | None
    weights: str
    tokenizer: str
    algorithms: Mapping[str, int]
    options: Mapping[str, Any]
    versions: Mapping[str, str]

    @classmethod
    def of(cls, model: Model) -> "Wanted":
        """Return the record of a handle's model.

        Raises:
            BadInput: a model on another server.
        """
        if is_served(model.name):
            raise BadInput(
                f"{model.name!r} is a model on another server; the model service opens only checkpoints of its own machine"
            )
        identity, spec = model.identity, model.spec
        return cls(
            _everywhere(model.name), model.revision, model.kind, model.dtype, model.device, model.random_seed,
            model.quantization, identity.weights, identity.tokenizer, {str(name): number for name, number in spec.algorithms.items()}, {**spec.options},
            _versions(model),
        )  # fmt: skip

    @classmethod
    def read(cls, given: Any) -> "Wanted":
        """Return the record in a request.

        Raises:
            BadInput: it has other fields, as from a client of another version.
        """
        names = {field.name for field in fields(cls)}
        if not isinstance(given, dict) or given.keys() != names:
            raise BadInput(f"a request must name a model by {', '.join(sorted(names))}; this one does not")
        return cls(**given)

    @property
    def key(self) -> str:
        """The key of a process of the service: clients with equal keys share one, whatever name they use for the model."""
        return canonical([self.kind, self.dtype, self.device, *(getattr(self, name) for name in _DECISIVE)])

    def difference(self, other: "Wanted") -> str | None:
        """Describe the first difference that could change an answer; None if there is none."""
        for name in _DECISIVE:
            mine, yours = getattr(self, name), getattr(other, name)
            if mine != yours:
                return f"{name}: {mine!r} here, {yours!r} in the service"
        return None


def _versions(model: Model) -> dict[str, str]:
    found = {name: version(name) for name in _LIBRARIES}
    if model.quantization is not None:
        found[_QUANTIZING] = version(_QUANTIZING) if find_spec(_QUANTIZING) else "none"
    return found


def _everywhere(name: str) -> str:
    """Return a name that means the same in every working folder."""
    file, mark, checkpoint = name.partition("#") if is_gguf(name) else (name, "", "")
    if checkpoint:
        checkpoint = _everywhere(checkpoint)
    try:
        if not is_gguf(name):
            find(name)
            return name
    except UnknownName:
        pass
    path = os.path.abspath(expanded(file)) if Path(expanded(file)).exists() else file
    return f"{path}{mark}{checkpoint}"
