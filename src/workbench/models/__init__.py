"""Lazy handles for models; the engine behind a handle is loaded only when an answer is missing.

`load` accepts a name of a family, any other hub id, or a local folder, decoder-only or encoder-decoder, and the address of a
server with the checkpoint that it is declared to serve. This package does not import torch: engines are found through the
registry and imported only when they have to compute.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, cast, get_args

from workbench.errors import BadInput
from workbench.family import is_gguf, is_served
from workbench.models.arguments import shown, whole
from workbench.models.engines import Capability, EngineFactory, engine_called, engine_for, engines
from workbench.models.handle import Dtype, Model, Quantization
from workbench.store import Store

__all__ = [
    "DTYPES",
    "QUANTIZATIONS",
    "Dtype",
    "Model",
    "Quantization",
    "algorithms",
    "digest_of",
    "expect_model",
    "load",
]

DTYPES, QUANTIZATIONS = get_args(Dtype), get_args(Quantization)
_NAMES_A_DEVICE = re.compile(r"auto|offload|cpu|mps|cuda(:\d+)?")


def load(
    name: str | os.PathLike[str],
    *,
    dtype: Dtype | Literal["auto"] = "float32",
    quantization: str | None = None,
    device: str = "auto",
    revision: str | None = None,
    store: Store | None = None,
    same_device: bool = False,
    random_seed: int | None = None,
    engine: str | None = None,
    declared_revision: str | None = None,
    tokenizer: str | os.PathLike[str] | None = None,
) -> Model:
    """Return a lazy handle for a model.

    Args:
        name: "bloomz-560m", "mini-mt0", the hub id of any causal or encoder-decoder model, or a folder (a `Path` is always one);
            "http://host:8000/v1#bloomz" is a model on a server (docs/servers.md); "x.gguf" or "QuantFactory/bloomz-560m-GGUF:Q8_0" is a
            GGUF file (docs/gguf.md).
        dtype: "float32", "bfloat16", "float16" (refused for mT5), or "auto": that of the published weights, as config.json or the
            catalogue gives it; float32 for an mT5 published in float16. Of a model on a server, what it is declared to use.
        quantization: "8bit" or "4bit": quantize most weights when they are read (`docs/real-models.md`); the others are in `dtype`.
            "rtn8" to "rtn2": only round them to so many bits; "noise8:0" to "noise2:0": move them as far, by noise from seed 0
            (`workbench.models.simulated`). Empty: none.
        device: "auto", "cpu", "cuda", "cuda:0", …; "offload": as "auto", but weights that fit into no memory stay on the disk.
        revision: a branch, tag or commit on the hub; a commit may be abbreviated if it is in the hub's cache.
        store: the store to use instead of the default one.
        same_device: ignore stored answers computed by another device family.
        random_seed: use the same architecture with random weights, as a baseline for probes.
        engine: the name of the engine in the registry (`workbench.models.engines`); by default the one that fits the name.
        declared_revision: the hub commit that a server is declared to serve, for which `revision` does as well.
        tokenizer: the checkpoint (a name, hub id or folder) whose tokenizer a GGUF file has, where the file does not state it; "x.gguf"
            with tokenizer="bloomz-560m" is the same model as "x.gguf#bloomz-560m".

    Raises:
        UnknownName: no such model or engine; the message lists the nearest names.
        BadInput: an unknown dtype, quantization or device, a name or revision that is not a string, or float16 for mT5.
    """
    if isinstance(name, os.PathLike):
        name = str(Path(name).absolute()) if not str(name).startswith("~") else str(name)
    for value, what in ((name, "name"), (revision or "main", "revision")):
        if not isinstance(value, str):
            raise BadInput(f"the {what} is {value!r}; give a string")
    name = _with_tokenizer(name, tokenizer)
    if dtype not in (*DTYPES, "auto"):
        raise BadInput(f"no dtype called {dtype!r}; choose one of: {', '.join(DTYPES)}, auto")
    if not isinstance(device, str) or not _NAMES_A_DEVICE.fullmatch(device):
        raise BadInput(f"no device called {device!r}; choose auto, cpu, cuda, cuda:N, mps or offload")
    if declared_revision is not None:
        if not is_served(name) or revision not in (None, declared_revision):
            raise BadInput(
                f"declared_revision={declared_revision!r} is for a model on a server; name a revision of {name!r} as revision="
            )
        revision = declared_revision
    engine = engine or engine_for(name)
    factory = engine_called(engine)
    quantized = None if quantization == "" else quantization
    factory.spec.quantized(quantized)
    chosen = _own_dtype(factory, engine, name, revision) if dtype == "auto" else dtype
    factory.expect(name, chosen, revision)
    if random_seed is not None:
        random_seed = whole("random_seed", random_seed, least=0)
    return Model(
        name, chosen, device, revision, store or Store(), same_device, random_seed, engine, quantized
    )


def _with_tokenizer(name: str, tokenizer: str | os.PathLike[str] | None) -> str:
    """Return the name of a GGUF file with that of its tokenizer's checkpoint."""
    if tokenizer is None:
        return name
    if not is_gguf(name) or "#" in name:
        raise BadInput(
            f"tokenizer={str(tokenizer)!r} is for a GGUF file whose name has no #; {name!r} is loaded with its own tokenizer"
        )
    return f"{name}#{tokenizer}"


def _own_dtype(factory: EngineFactory, engine: str, name: str, revision: str | None) -> Dtype:
    if not hasattr(factory, "own_dtype"):
        raise BadInput(f"the engine {engine!r} has no dtype 'auto'; choose one of: {', '.join(DTYPES)}")
    return cast(Dtype, factory.own_dtype(name, revision))


def algorithms() -> dict[str, Mapping[Capability, int]]:
    """Return the algorithm versions of the installed engines; stored answers of other versions are superseded."""
    return {kind: factory.spec.algorithms for kind, factory in engines().items()}


def expect_model(model: object) -> None:
    """Check that an argument is a handle, and not a name, for example.

    Raises:
        BadInput: it was not returned by `load`.
    """
    if not isinstance(model, Model):
        raise BadInput(f"expected a model returned by load(name), got {shown(model)}")


def digest_of(name: str, store: Store | None = None, *, revision: str | None = None) -> str | None:
    """Return the digest of a model's weights and tokenizer if it can be found without a network, else None.

    Raises:
        UnknownName: no such model; the message lists the nearest names.
    """
    known = engine_called(engine_for(name)).recall(name, revision, store or Store())
    return f"{known.weights}-{known.tokenizer}" if known is not None else None
