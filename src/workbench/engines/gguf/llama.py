"""llama.cpp through its C functions: a model, and a context that computes logits for tokens placed in sequences.

llama.cpp ends the process where it finds its rules violated, so callers check a file before it is read here (`expected`), and this
module hands on nothing that breaks a rule: batches within their limits, tokens of the vocabulary, an encoder's input before a
decoder's.
"""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from weakref import finalize

import numpy as np

from workbench.errors import BadInput

LIBRARY = "llama-cpp-python"
_F32 = 0  # of the cache, as ggml numbers its types
_NO_FLASH_ATTENTION = 0  # which rounds keys and values to float16
_ERROR = 4  # a level of the log
_CELLS = 256  # of the cache, in steps
_said: list[str] = []


@lru_cache(maxsize=1)
def library() -> Any:
    """Return the module of llama.cpp's C functions, set up once.

    Raises:
        BadInput: it is not installed.
    """
    if find_spec("llama_cpp") is None:
        raise BadInput(
            "GGUF files are computed by llama.cpp, which is not installed: pip install 'workbench[gguf]' (it is compiled; docs/gguf.md)"
        )
    room = import_module("llama_cpp.llama_cpp")
    room.llama_log_set(_listen(room), ctypes.c_void_p())
    room.llama_backend_init()
    return room


@lru_cache(maxsize=1)
def _listen(room: Any) -> Any:
    """Return the function that llama.cpp reports to, which keeps what errors say."""

    def listen(level: int, text: bytes, _: object) -> None:
        if level == _ERROR:
            del _said[:-3]
            _said.append(text.decode("utf-8", "replace").strip())

    return room.llama_log_callback(listen)


def reason() -> str:
    """Return what llama.cpp said last about errors, and forget it."""
    found = "; ".join(line for line in _said if line)[:300].rstrip(".")
    _said.clear()
    return found or "it gave no reason"


class Weights:
    """A model in memory; `vocabulary` is how many tokens it scores."""

    def __init__(self, path: Path, *, on_gpu: bool) -> None:
        self.llama = library()
        options = self.llama.llama_model_default_params()
        options.n_gpu_layers = 999 if on_gpu else 0
        options.check_tensors = True  # refuse values that are not finite
        _said.clear()
        self.model = self.llama.llama_model_load_from_file(str(path).encode(), options)
        if not self.model:
            raise BadInput(
                f"{path} cannot be loaded by llama.cpp ({reason()}); fetch it again, or take one of another type"
            )
        self.vocabulary: int = self.llama.llama_vocab_n_tokens(self.llama.llama_model_get_vocab(self.model))
        self.has_encoder: bool = self.llama.llama_model_has_encoder(self.model)
        self.on_gpu = on_gpu
        finalize(self, self.llama.llama_model_free, self.model)


@dataclass(frozen=True)
class Limits:
    """The size of a context: `cells` tokens in its cache, in so many `sequences`; `tokens` and `outputs` in a step.

    `shared`: sequences lie in one cache, so that a token may belong to several; else each has `cells` / `sequences` of its own.
    """

    cells: int
    sequences: int
    tokens: int = 512
    outputs: int = 128
    shared: bool = True


@dataclass
class Nodes:
    """Tokens to compute (int32), with their positions, the sequences that each belongs to, and which of them give logits."""

    tokens: np.ndarray
    positions: np.ndarray
    sequences: Sequence[Sequence[int]]
    wanted: np.ndarray

    def part(self, start: int, end: int) -> "Nodes":
        """Return some of them."""
        return Nodes(
            self.tokens[start:end],
            self.positions[start:end],
            self.sequences[start:end],
            self.wanted[start:end],
        )


class Context:
    """A cache of keys and values and the buffers of a computation."""

    def __init__(self, weights: Weights, limits: Limits, threads: int) -> None:
        self.weights, self.llama = weights, weights.llama
        self.limits = limits
        options = self.llama.llama_context_default_params()
        per_sequence = 1 if limits.shared else limits.sequences
        cells = max(
            limits.cells, limits.tokens
        )  # llama.cpp reads no more tokens at once than the cache has room for
        options.n_ctx = -(-cells // (_CELLS * per_sequence)) * _CELLS * per_sequence
        options.n_batch = options.n_ubatch = limits.tokens
        options.n_outputs_max = min(limits.outputs, limits.tokens)
        options.n_seq_max = limits.sequences
        options.n_threads = options.n_threads_batch = threads
        options.kv_unified = limits.shared
        options.type_k = options.type_v = _F32
        options.flash_attn_type = _NO_FLASH_ATTENTION
        options.op_offload = options.offload_kqv = weights.on_gpu
        options.no_perf = True
        _said.clear()
        self.context = self.llama.llama_init_from_model(weights.model, options)
        if not self.context:
            raise MemoryError(f"llama.cpp cannot allocate a cache of {limits.cells} tokens ({reason()})")
        self.memory = self.llama.llama_get_memory(self.context)
        self.most: int = min(self.llama.llama_n_batch(self.context), self.llama.llama_n_ubatch(self.context))
        finalize(self, self.llama.llama_free, self.context)

    def clear(self) -> None:
        """Empty the cache."""
        self.llama.llama_memory_clear(self.memory, False)

    def remove(self, sequence: int) -> None:
        """Remove a sequence from the cache."""
        self.llama.llama_memory_seq_rm(self.memory, sequence, -1, -1)

    def encode(self, nodes: Nodes) -> None:
        """Read an encoder's input; the decoder's tokens then attend to that of their sequences."""
        self._run(self.llama.llama_encode, nodes)

    def decode(self, nodes: Nodes) -> np.ndarray:
        """Append tokens to their sequences and return the logits of those wanted, float32 (K, V), valid until the next call."""
        self._run(self.llama.llama_decode, nodes)
        count = int(nodes.wanted.sum())
        if not count:
            return np.empty((0, self.weights.vocabulary), dtype=np.float32)
        logits = self.llama.llama_get_logits(self.context)
        return np.ctypeslib.as_array(logits, shape=(count, self.weights.vocabulary))

    def _run(self, compute: Any, nodes: Nodes) -> None:
        count = len(nodes.tokens)
        assert 0 < count <= self.most
        assert nodes.tokens.min() >= 0
        assert nodes.tokens.max() < self.weights.vocabulary
        batch, kept = _batch(self.llama, nodes)
        _said.clear()
        status = compute(self.context, batch)
        del kept
        if status:
            raise BadInput(f"llama.cpp failed with status {status} on {count} tokens: {reason()}")


def _batch(llama: Any, nodes: Nodes) -> tuple[Any, list[np.ndarray]]:
    """Return the C structure of a batch, and the arrays that it points into."""
    counts = np.array([len(each) for each in nodes.sequences], dtype=np.int32)
    flat = np.array([one for each in nodes.sequences for one in each], dtype=np.int32)
    starts = (flat.ctypes.data + 4 * (np.cumsum(counts) - counts)).astype(np.uint64)
    arrays: list[np.ndarray] = [
        np.ascontiguousarray(nodes.tokens, np.int32), np.ascontiguousarray(nodes.positions, np.int32), counts, starts,
        nodes.wanted.astype(np.int8), flat,
    ]  # fmt: skip
    batch = llama.llama_batch()
    batch.n_tokens = len(nodes.tokens)
    fields = dict(llama.llama_batch._fields_)
    for name, array in zip(("token", "pos", "n_seq_id", "seq_id", "logits"), arrays, strict=False):
        setattr(batch, name, ctypes.cast(array.ctypes.data, fields[name]))
    return batch, arrays
