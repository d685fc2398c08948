"""Checks that the tensors in the files match the model in config.json and are finite."""

from collections.abc import Collection
from itertools import chain
from typing import Any

import torch

from workbench.engines.transformers.quantized import scales
from workbench.errors import BadInput
from workbench.models.folders import listed, settings
from workbench.models.identity import Identity

_WRAPPERS = {
    "_orig_mod.": "was saved from inside torch.compile: save `model._orig_mod`",
    "module.": "was saved from inside DataParallel: save `model.module`",
    "base_model.model.": "was saved from inside peft: save `model.merge_and_unload()`",
}
_OWN_HEADS = ("mt5", "umt5")  # T5 v1.1 and its descendants; since transformers 5 config.json says otherwise


def expect_same_shapes(empty: Any, shapes: dict[str, tuple[int, ...]], identity: Identity) -> None:
    """Refuse tensors whose shape differs from the one in config.json, before any is read: transformers may fail on them.

    Args:
        empty: the model that config.json describes, on the meta device.
        shapes: of the tensors in the files.

    Raises:
        BadInput: the message names the tensors.
    """
    if getattr(empty.config, "quantization_config", None):  # quantized weights are packed into other shapes
        return
    base = f"{empty.base_model_prefix}."
    wanted = {name: tuple(tensor.shape) for name, tensor in empty.state_dict().items()}
    wanted = {name.removeprefix(base): shape for name, shape in wanted.items()} | wanted
    other = [name for name, shape in sorted(shapes.items()) if wanted.get(name, shape) != shape]
    if other:
        sizes = [
            f"{name} ({_shape(shapes[name])} in the file, {_shape(wanted[name])} in the model)"
            for name in other
        ]
        raise _other_weights(identity, f"{_count(other)} of another shape: {listed(sizes)}")


def expect_same_tensors(model: Any, report: dict[str, Any], identity: Identity) -> None:
    """Refuse missing or unexpected tensors, according to transformers' report.

    Tensors that the model ties to others, and buffers of older versions, are not in the report.

    Raises:
        BadInput: the message names the tensors, or the wrapper around the model that added a prefix to their names.
    """
    missing, unexpected = sorted(report["missing_keys"]), sorted(report["unexpected_keys"])
    prefix = _prefix(missing, unexpected, f"{model.base_model_prefix}.")
    if prefix is not None:
        how = _WRAPPERS.get(prefix, "was saved inside another: save the inner one")
        raise BadInput(
            f"the tensors in {identity.folder} are named {prefix}…, since the model {how} with save_pretrained, "
            f"or rename them without {prefix!r}"
        )
    faults = (("missing", missing), ("not in the model", unexpected))
    found = "; ".join(f"{_count(names)} {fault}: {listed(names)}" for fault, names in faults if names)
    if found:
        raise _other_weights(identity, found)


def expect_own_head(model: Any, names: Collection[str], identity: Identity) -> None:
    """Refuse files without an output head if the architecture or config.json says that the head is untied.

    transformers would tie it to the embedding. mT5 has an untied head, whatever its configuration class says.

    Raises:
        BadInput: the head is missing.
    """
    heads = [name for name, _ in model.named_parameters(remove_duplicate=False) if name == "lm_head.weight"]
    if not heads or "lm_head.weight" in names:
        return
    assert identity.folder is not None  # ensured by `fresh_engine`
    stated = settings(identity.folder / "config.json").get("tie_word_embeddings")
    if identity.architecture in _OWN_HEADS or stated is False:
        raise BadInput(
            f"the weights in {identity.folder} have no lm_head.weight, which {identity.architecture} does not share with "
            "the embedding; fetch them again, or, if it was trained with a shared one, save a copy of the embedding "
            "under that name"
        )


def expect_finite(model: Any, identity: Identity) -> None:
    """Refuse NaN and infinity in the weights; takes 0.1 seconds per gigabyte, which the first answer would read anyway.

    Raises:
        BadInput: the message names the tensors.
    """
    broken = [
        name
        for name, tensor in chain(model.named_parameters(), scales(model))
        if tensor.is_floating_point() and tensor.device.type != "meta" and tensor.numel()
        if not torch.stack(torch.aminmax(tensor)).isfinite().all()
    ]
    if broken:
        raise BadInput(
            f"{_count(broken)} in {identity.folder} with NaN or infinity: {listed(broken)}; fetch the weights again, "
            "or load them in the dtype that they were trained in"
        )


def _prefix(missing: list[str], unexpected: list[str], base: str) -> str | None:
    """Return the prefix before the model's own names in the file, if there is one."""
    wanted = {*missing, *(name.removeprefix(base) for name in missing)}
    for name in unexpected:
        parts = name.split(".")
        tails = (".".join(parts[start:]) for start in range(1, len(parts)))
        tail = next((tail for tail in tails if tail in wanted), None)
        if tail is not None:
            return name.removesuffix(tail)
    return None


def _other_weights(identity: Identity, faults: str) -> BadInput:
    return BadInput(
        f"the weights in {identity.folder} are not those of its config.json: {faults}; "
        "fetch both again, or add the config.json with which they were saved"
    )


def _shape(size: Any) -> str:
    return "×".join(map(str, size))


def _count(names: list[str]) -> str:
    return f"{len(names)} tensor{'s' if len(names) > 1 else ''}"
