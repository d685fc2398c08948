"""A checkpoint becomes a GGUF file, which is kept only if it gives what the checkpoint gives.

Checked are the token ids that llama.cpp's tokenizer makes of sentences in 24 languages (if they differ, the file gets the tokens
without a tokenizer, and says so), and the log-probabilities of 50 texts, whose differences from transformers in float32 have a bound
for each type.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from workbench.atomic import make_folder, written_whole
from workbench.engines.gguf.engine import opened
from workbench.engines.gguf.llama import library
from workbench.engines.gguf.tokenizing import ids_in_llama
from workbench.engines.gguf.vocabulary import NO_TOKENIZER, Vocabulary, vocabulary_of
from workbench.engines.gguf.writing import WRITTEN, quantize, write, write_vocabulary
from workbench.engines.transformers.loading import read_tokenizer
from workbench.errors import BadInput, UnknownName
from workbench.family import find
from workbench.gguf_header import read_header
from workbench.models import load
from workbench.models.engines import DEFAULT, Engine, engine_called
from workbench.models.folders import settings
from workbench.models.gguf import ARCHITECTURES
from workbench.models.identity import Identity
from workbench.models.requests import ComputeOptions, ScoringRule, ToScore
from workbench.store import Store
from workbench.tasks.parallel import texts as parallel_texts

TYPES = (
    "F32",
    "F16",
    "BF16",
    "Q8_0",
    "Q6_K",
    "Q5_K_M",
    "Q5_K_S",
    "Q5_0",
    "Q4_K_M",
    "Q4_K_S",
    "Q4_0",
    "Q3_K_L",
    "Q3_K_M",
    "Q3_K_S",
    "Q2_K",
)
_BOUNDS = {  # nats, of the mean difference per token: by the first two letters of a type
    "F3": 0.01, "F1": 0.01, "BF": 0.1, "Q8": 0.2, "Q6": 0.3, "Q5": 0.5, "Q4": 0.8, "Q3": 1.2, "Q2": 2.0,
}  # fmt: skip
_TEXTS = 50
_RULE = ScoringRule(special_tokens=True)


@dataclass(frozen=True)
class Converted:
    """A file that was written: the mean and largest difference of a token's log-probability from the checkpoint's, in nats."""

    file: Path
    types: Mapping[str, int]
    mean: float
    largest: float
    has_tokenizer: bool
    states_checkpoint: bool


def to_gguf(name: str, output: Path, *, kind: str = "F16", revision: str | None = None) -> Converted:
    """Write a checkpoint of BLOOM or mT5 as a GGUF file.

    Args:
        kind: One of `TYPES`.

    Raises:
        BadInput: llama.cpp is not installed, the output exists or is not named .gguf, an unknown type or architecture, or a file that
            does not give what the checkpoint gives, which is not kept.
        NotReachable: the checkpoint is not on this machine, and the hub cannot be reached.
        StoreFailed: the file could not be written; nothing is left behind.
    """
    _expect_output(output, kind)
    library()
    factory = engine_called(DEFAULT)
    factory.expect(name, "float32", revision)
    identity = factory.identify(name, revision, Store(), need_weights=True)
    if identity.architecture not in ARCHITECTURES.values():
        raise BadInput(f"{name} is a {identity.architecture}; GGUF files are made of BLOOM and mT5")
    assert identity.folder is not None
    tokenizer = read_tokenizer(identity)
    vocabulary = _fitting(identity, tokenizer, settings(identity.folder / "config.json")["vocab_size"])
    statements = _statements(identity)
    make_folder(output.absolute().parent)
    with written_whole(output) as aside:
        _write(identity, aside, kind, vocabulary, statements)
        mean, largest = _checked(identity, aside, kind, revision)
    has_tokenizer = vocabulary.model != NO_TOKENIZER
    return Converted(
        output, read_header(output).values_by_type, mean, largest, has_tokenizer, len(statements) > 1
    )


def _expect_output(output: Path, kind: str) -> None:
    if kind not in TYPES:
        raise BadInput(f"no type {kind!r} of GGUF files; choose one of: {', '.join(TYPES)}")
    if output.suffix != ".gguf":
        raise BadInput(f"{output} is not the name of a GGUF file; give a name that ends in .gguf")
    if output.exists():
        raise BadInput(f"{output} already exists; name a new file")


def _statements(identity: Identity) -> dict[str, str]:
    """Return what the file says that it is: a checkpoint's name and hub id; a folder's name only."""
    try:
        known = find(identity.name)
    except UnknownName:
        named = {"general.name": identity.name if identity.hub_id else Path(identity.name).name}
        hub_id = identity.hub_id
    else:
        named, hub_id = {"general.name": known.name}, known.hub_id
    source = {"general.source.huggingface.repository": hub_id} if hub_id else {}
    return {**named, **{key: text for key, text in source.items() if text}}


def _fitting(identity: Identity, tokenizer: Any, rows: int) -> Vocabulary:
    """Return the tokenizer as the file holds it, without one if llama.cpp's makes other ids of it."""
    found = vocabulary_of(tokenizer, rows, is_encoder_decoder=identity.is_encoder_decoder)
    if found.model == NO_TOKENIZER:
        differ = len(_texts())
    else:
        with TemporaryDirectory(prefix="workbench-") as folder:
            file = Path(folder) / "vocabulary.gguf"
            write_vocabulary(file, "t5" if identity.is_encoder_decoder else "bloom", found)
            theirs = ids_in_llama(file, _texts())
        ours = tokenizer(list(_texts()), verbose=False)["input_ids"]
        differ = sum(list(a) != b for a, b in zip(theirs, ours, strict=True))
    if differ:
        warnings.warn(
            f"llama.cpp has no tokenizer that is equal to that of {identity.name} ({differ} of {len(_texts())} texts get other tokens): the "
            "file gets its tokens only. It can be used here, where prompts are encoded by the checkpoint's tokenizer, and in "
            "programs that send token ids",
            stacklevel=3,
        )
        return found.without_tokenizer()
    return found


def _write(
    identity: Identity, aside: Path, kind: str, vocabulary: Vocabulary, statements: Mapping[str, str]
) -> None:
    assert identity.folder is not None
    if kind in WRITTEN:
        write(identity.folder, aside, kind, vocabulary, statements)
        return
    with TemporaryDirectory(prefix=".workbench-", dir=aside.parent) as folder:
        plain = Path(folder) / "plain.gguf"
        write(identity.folder, plain, _as_published(identity.folder), vocabulary, statements)
        quantize(plain, aside, kind, torch.get_num_threads())


def _as_published(folder: Path) -> str:
    """Return the type that holds a checkpoint's values as they are."""
    config = settings(folder / "config.json")
    dtype = str(config.get("dtype", config.get("torch_dtype")))
    return {"float16": "F16", "bfloat16": "BF16"}.get(dtype, "F32")


def _checked(identity: Identity, file: Path, kind: str, revision: str | None) -> tuple[float, float]:
    """Return the mean and largest difference of log-probabilities between file and checkpoint, in nats.

    Raises:
        BadInput: the mean is above the type's bound.
    """
    requests = [_halves(text) for text in _texts()[:_TEXTS]]
    ours = _logprobs(load(identity.name, revision=revision, device="cpu").fresh_engine(), requests)
    copy = Identity(**{**vars(identity), "file": file, "file_type": kind, "source": "file"})
    differences = np.abs(_logprobs(opened(copy, "cpu"), requests) - ours)
    mean, largest = float(differences.mean()), float(differences.max())
    if not mean <= _BOUNDS[kind[:2]]:
        raise BadInput(
            f"{identity.name} as {kind} differs from the checkpoint by {mean:.3f} nats per token on average (at most {largest:.2f}), and "
            f"{_BOUNDS[kind[:2]]} are allowed; the file is not kept: choose a type with more bits"
        )
    return mean, largest


def _halves(text: str) -> ToScore:
    middle = len(text) // 2
    return ToScore(text[:middle], text[middle:])


def _logprobs(engine: Engine, requests: Sequence[ToScore]) -> np.ndarray:
    """Return the log-probabilities of the tokens of all requests, in order."""
    found: dict[int, list[float]] = {}
    for positions, answers in engine.score(requests, _RULE, ComputeOptions()):
        for position, answer in zip(positions, answers, strict=True):
            found[position] = [value for value in answer.logprobs if value is not None]
    return np.array([value for position in sorted(found) for value in found[position]])


def _texts() -> tuple[str, ...]:
    """Return sentences in many languages, of different meanings next to each other."""
    rows = parallel_texts()
    languages = sorted({row["language"] for row in rows})
    by_language = {
        language: [row["text"] for row in rows if row["language"] == language] for language in languages
    }
    count = min(map(len, by_language.values()))
    return tuple(by_language[language][n] for n in range(count) for language in languages)
