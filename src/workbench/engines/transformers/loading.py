"""Loading of weights, only here: a folder becomes a transformers model and its tokenizer, on a device.

Faults that transformers accepts are refused here: tensors that are missing (it initializes them randomly), unexpected or of the
wrong shape, and values that are not finite. Its exceptions are reported in one sentence.
"""

import contextlib
import json
import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
import transformers
from safetensors import safe_open
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    GenerationConfig,
)

from workbench.engines.transformers.gelu import fuse
from workbench.engines.transformers.out_of_memory import ran_out
from workbench.engines.transformers.placement import check_placement, placement, single_device
from workbench.engines.transformers.quantized import settings, settle
from workbench.engines.transformers.rounding import simulate
from workbench.engines.transformers.tensors import (
    expect_finite,
    expect_own_head,
    expect_same_shapes,
    expect_same_tensors,
)
from workbench.errors import BadInput, WorkbenchError
from workbench.models.folders import weight_files
from workbench.models.identity import Identity
from workbench.models.simulated import Simulated

_TOKEN_IDS = ("eos_token_id", "pad_token_id", "bos_token_id", "decoder_start_token_id")
_LOCAL: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}


def read_weights(
    identity: Identity, dtype: str, device: str, random_seed: int | None, quantization: str | None = None
) -> tuple[Any, Any]:
    """Load model and tokenizer from the identity's folder: safetensors only, no third-party code, no network.

    Args:
        random_seed: initialize the configuration with random weights instead of reading any.
        quantization: "8bit" or "4bit", or a simulation's name.

    Raises:
        BadInput: damaged or inconsistent files, an architecture that transformers does not know, an unavailable device, or too
            little memory; or for a quantization, without bitsandbytes or of weights that are quantized already.
    """
    tokenizer = read_tokenizer(identity)
    with quiet(), _in_one_sentence("the model", identity):
        config = AutoConfig.from_pretrained(str(identity.folder), **_LOCAL)
        _expect_generator(config, identity)
        _expect_no_other_quantization(config, identity, quantization)
        shapes = _shapes_in_files(identity)
        simulated = Simulated.read(quantization)
        packed = None if simulated is not None else quantization
        options = {"dtype": getattr(torch, dtype), **placement(device, identity, dtype, packed)}
        if packed is not None:
            options["quantization_config"] = settings(packed, options["dtype"])
        kind = AutoModelForSeq2SeqLM if identity.is_encoder_decoder else AutoModelForCausalLM
        empty = partial(kind.from_config, config, trust_remote_code=False)
        if random_seed is None:
            model = _from_files(kind, empty, identity, shapes, **options)
        else:
            model = _random(kind, empty, random_seed, single_device(device), options)
    check_placement(model, identity)
    if simulated is not None:
        simulate(model, simulated)
    fuse(model)
    model.eval()
    if packed is not None:
        settle(model)
    return model, tokenizer


def read_tokenizer(identity: Identity) -> Any:
    """Load the tokenizer from the identity's folder, as `read_weights` does.

    Raises:
        BadInput: damaged files.
    """
    with quiet(), _in_one_sentence("the tokenizer", identity):
        tokenizer = AutoTokenizer.from_pretrained(str(identity.folder), **_LOCAL)
        _expect_numbers(tokenizer, ("model_max_length",))
    return tokenizer


def _from_files(
    kind: Any,
    empty: Callable[[], Any],
    identity: Identity,
    shapes: dict[str, tuple[int, ...]],
    **options: Any,
) -> Any:
    """Read the weights, and check that they are those of the model that config.json describes."""
    with torch.device("meta"):
        expect_same_shapes(empty(), shapes, identity)
    model, report = kind.from_pretrained(
        str(identity.folder), use_safetensors=True, output_loading_info=True,
        **_generation_config(identity), **_LOCAL, **options,
    )  # fmt: skip
    expect_same_tensors(model, report, identity)
    expect_own_head(model, shapes, identity)
    expect_finite(model, identity)
    _expect_numbers(model.generation_config, _TOKEN_IDS)
    return model


def _random(kind: Any, empty: Callable[..., Any], seed: int, device: str, options: dict[str, Any]) -> Any:
    """Return the model that config.json describes with random weights, quantized where the options say so."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = empty(dtype=options["dtype"])
    if "quantization_config" not in options:
        return model.to(device)
    with tempfile.TemporaryDirectory(prefix="workbench-") as folder:  # transformers quantizes what it reads
        model.save_pretrained(folder)
        return kind.from_pretrained(folder, use_safetensors=True, **_LOCAL, **options)


def _generation_config(identity: Identity) -> dict[str, GenerationConfig]:
    """Return the generation settings without the number of answers, which transformers refuses in a greedy configuration."""
    assert identity.folder is not None
    path = identity.folder / "generation_config.json"
    fields = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if fields.pop("num_return_sequences", 1) == 1:
        return {}  # transformers reads the file itself
    return {"generation_config": GenerationConfig.from_dict(fields)}


def _shapes_in_files(identity: Identity) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of the tensors; safetensors checks the length of each file against its header."""
    assert identity.folder is not None  # ensured by `fresh_engine`
    shapes: dict[str, tuple[int, ...]] = {}
    for path in weight_files(identity.folder):
        if path.suffix == ".safetensors":
            try:
                with safe_open(path, framework="pt") as file:
                    shapes |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  not a dict
            except Exception as error:  # SafetensorError derives directly from Exception
                raise BadInput(
                    f"{path} is damaged or incomplete ({_reason(error)}); fetch it again"
                ) from error
    return shapes


def _expect_generator(config: Any, identity: Identity) -> None:
    """Refuse masked language models, which do not continue a text."""
    kinds = getattr(config, "architectures", None) or []
    if any(str(kind).endswith("ForMaskedLM") for kind in kinds):
        raise BadInput(
            f"{identity.name} is a masked language model ({', '.join(kinds)}); choose a causal or an encoder-decoder one"
        )


def _expect_no_other_quantization(config: Any, identity: Identity, quantization: str | None) -> None:
    if quantization is not None and getattr(config, "quantization_config", None):
        raise BadInput(
            f"the weights of {identity.name} are quantized already, as its config.json says; load it without quantization"
        )


def _expect_numbers(holder: Any, names: Sequence[str]) -> None:
    """Refuse settings of the wrong type, which transformers accepts but which fail later or never end a text.

    Raises:
        TypeError: a value is neither a number, nor a list of token ids, nor None.
    """
    for name in names:
        value = getattr(holder, name, None)
        values = value if isinstance(value, list) and name in _TOKEN_IDS else [0 if value is None else value]
        if not all(isinstance(each, int | float) and not isinstance(each, bool) for each in values):
            raise TypeError(f"{name} is {value!r}, but must be a number")


@contextlib.contextmanager
def _in_one_sentence(what: str, identity: Identity) -> Iterator[None]:
    try:
        yield
    except WorkbenchError:
        raise
    except Exception as error:  # tokenizers raises bare Exception, transformers almost anything
        if isinstance(error, MemoryError | RuntimeError) and ran_out(error):
            raise BadInput(
                f"{identity.name} does not fit into memory; load it in bfloat16, or on a machine with more memory"
            ) from error
        if "dispatched on the CPU or the disk" in str(
            error
        ):  # transformers refuses to offload quantized weights
            raise BadInput(
                f"{identity.name} does not fit on the GPUs, and quantized weights must fit as a whole; load it in 4bit, with "
                "dtype='bfloat16', on more GPUs, or with device='cpu'"
            ) from error
        raise BadInput(
            f"{what} in {identity.folder} cannot be loaded by transformers {transformers.__version__}: {_reason(error)}; "
            "fetch it again, or load another"
        ) from error


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300].rstrip('.')}"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' progress bars and notices (mT5's untied head, generation flags), then restore the user's settings."""
    level = transformers.logging.get_verbosity()
    bars = transformers.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity(logging.ERROR)
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(level)
        if bars:
            transformers.logging.enable_progress_bar()
