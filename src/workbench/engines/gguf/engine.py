"""A GGUF file in llama.cpp, as an `Engine`: tokenization and scoring rules are ours, the arithmetic is llama.cpp's."""

import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from threading import RLock
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig

from workbench.engines.gguf import LIBRARY
from workbench.engines.gguf.decoding import CausalDecoder, CrossDecoder, rows_that_fit
from workbench.engines.gguf.expected import OF_EACH_TOKEN, expect_loadable
from workbench.engines.gguf.llama import Weights, library
from workbench.engines.gguf.log_probabilities import MOST_TOKENS, Scorer, not_finite
from workbench.engines.gguf.vocabulary import expect_same_tokens
from workbench.engines.transformers.alternatives import read_alternatives
from workbench.engines.transformers.continuous_batch import ContinuousBatch, Prompt, See
from workbench.engines.transformers.encoding import Encoded, Encoder, short
from workbench.engines.transformers.loading import read_tokenizer
from workbench.errors import BadInput
from workbench.gguf_header import TOKENS, read_header
from workbench.models.engines import Watch
from workbench.models.identity import Identity
from workbench.models.memory import OFFLOAD, expect_batch
from workbench.models.requests import (
    ComputeOptions,
    Decoded,
    Decoding,
    ScoringRule,
    StateOptions,
    ToGenerate,
    TokenAlternatives,
    TokenScores,
    ToScore,
)


def opened(identity: Identity, device: str) -> "GgufEngine":
    """Check a file and its tokenizer, read it, and return the engine.

    Raises:
        BadInput: llama.cpp is not installed, the file is damaged or of other tokens, or the device is not available.
    """
    assert identity.file is not None
    llama = library()
    if device == OFFLOAD:
        raise BadInput(f"{identity.name} is a GGUF file, which is not offloaded; leave out device='offload'")
    on_gpu = device not in ("cpu", "auto") or (device == "auto" and llama.llama_supports_gpu_offload())
    if on_gpu and not llama.llama_supports_gpu_offload():
        raise BadInput(
            f"llama.cpp is installed without support for GPUs; leave out device={device!r}, or install it with CUDA (docs/gguf.md)"
        )
    header = read_header(identity.file, (TOKENS, *OF_EACH_TOKEN))
    rows = expect_loadable(identity.file, header)
    tokenizer = read_tokenizer(identity)
    expect_same_tokens(identity.file, header.fields[TOKENS], tokenizer, str(identity.folder))
    config = AutoConfig.from_pretrained(str(identity.folder), local_files_only=True, trust_remote_code=False)
    return GgufEngine(identity, Weights(identity.file, on_gpu=on_gpu), tokenizer, config, rows)


class GgufEngine:
    """A model in llama.cpp.

    Attributes:
        device_family: "cpu" or "cuda".
        libraries: the version of llama-cpp-python.
        lock: held during computation, so that one thread computes at a time.
    """

    scores_wide = False

    def __init__(self, identity: Identity, weights: Weights, tokenizer: Any, config: Any, rows: int) -> None:
        self.identity, self.weights, self.tokenizer = identity, weights, tokenizer
        self.device_family = "cuda" if weights.on_gpu else "cpu"
        self.libraries = f"{LIBRARY} {version(LIBRARY)}"
        self.lock = RLock()
        ends = config.eos_token_id
        self._ends = frozenset([ends] if isinstance(ends, int) else ends or [])
        self.end = min(self._ends, default=0)
        self.token_count = rows
        self._encoder = Encoder(identity, tokenizer, end=self.end, rows=rows)
        self._start = config.decoder_start_token_id if identity.is_encoder_decoder else None
        self._bytes_per_token = bytes_per_token(config)
        self._scorer = Scorer(weights, self._start, torch.get_num_threads())

    def hand_out(self) -> None:
        """Refuse: there is no transformers model.

        Raises:
            BadInput: always.
        """
        raise BadInput(
            f"{self.identity.name} is a GGUF file, of which there is no model.hf; load the checkpoint itself"
        )

    def changed(self) -> str | None:
        """Return None: outside code cannot get at the model."""
        return None

    def generate(
        self, requests: Sequence[ToGenerate], decoding: Decoding, batch_size: int
    ) -> Iterator[tuple[list[int], list[Decoded]]]:
        """Yield (positions, generated texts) as rows finish; the longest prompts start first.

        Raises:
            BadInput: a prompt that does not fit into the context, results that are not finite, or beams or penalties.
        """
        return self.generate_watched(requests, decoding, batch_size, None)

    def generate_watched(
        self, requests: Sequence[ToGenerate], decoding: Decoding, batch_size: int, watch: Watch | None
    ) -> Iterator[tuple[list[int], list[Decoded]]]:
        """As `generate`; after each token `watch` gets a request's position and its text so far."""
        _expect_plain(decoding)
        encoded = self._encoder.ids([request.prompt for request in requests], special_tokens=True)
        room = self.identity.context_length - (0 if self._start is not None else decoding.max_new_tokens)
        for request, ids in zip(requests, encoded, strict=True):
            if not 0 < len(ids) <= room:
                raise BadInput(
                    f"the prompt {short(request.prompt)!r} has {len(ids)} tokens; with max_new_tokens={decoding.max_new_tokens} "
                    f"{self.identity.name} takes 1 to {max(room, 0)}: shorten one of them"
                )
        prompts = [
            Prompt(ids.tolist(), f"{decoding.seed}|{request.sample}|{request.prompt}")
            for request, ids in zip(requests, encoded, strict=True)
        ]

        def see(position: int, ids: list[int]) -> None:
            if watch:
                watch(position, self.decode(ids).text)

        for finished in self._generated(prompts, decoding, batch_size, see if watch else None):
            yield list(finished), [self.decode(ids) for ids in finished.values()]

    def _generated(
        self, prompts: Sequence[Prompt], decoding: Decoding, rows: int, see: See | None
    ) -> Iterator[dict[int, list[int]]]:
        longest = max(len(prompt.ids) for prompt in prompts)
        order = sorted(range(len(prompts)), key=lambda number: (-len(prompts[number].ids), number))
        threads, new = torch.get_num_threads(), decoding.max_new_tokens
        rows = rows_that_fit(min(rows, len(prompts)), longest + new, self._bytes_per_token)
        if self._start is None:
            decoder: Any = CausalDecoder(self.weights, rows, longest + new, threads)
        else:
            rows = max(1, min(rows, MOST_TOKENS // longest))  # the encoder reads all at once
            decoder = CrossDecoder(self.weights, rows, longest, new, self._start, threads)
        batch = ContinuousBatch(decoder, self._ends, _expect_finite, see)
        yield from batch.generate(prompts, order, decoding, rows)

    def decode(self, ids: Sequence[int]) -> Decoded:
        """Return the text of generated tokens up to the end token, without special tokens."""
        end = next((place for place, token in enumerate(ids) if token in self._ends), None)
        kept = [token for token in ids[:end] if token < len(self.tokenizer)]
        text = self.tokenizer.decode(kept, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return Decoded(str(text), len(ids[:end]), end is not None)

    def score(
        self, requests: Sequence[ToScore], rule: ScoringRule, options: ComputeOptions
    ) -> Iterator[tuple[list[int], list[TokenScores]]]:
        """Yield (positions, token scores) batch by batch; `exact` computes each text alone on one thread.

        Raises:
            BadInput: as `Encoder.encode` and `Scorer.score`; or a batch that does not fit into what is free.
        """
        if options.batch_tokens:
            expect_batch(self.identity, self.device_family, options.batch_tokens)
        encoded = self._encoder.encode(requests, rule)
        scorer = Scorer(self.weights, self._start, 1) if options.exact else self._scorer
        for found in scorer.score(encoded, options.batch_tokens, alone=options.exact):
            yield list(found), [self._scores(encoded[number], found[number]) for number in found]

    def _scores(self, encoded: Encoded, logprobs: list[float]) -> TokenScores:
        """Return the scores of a text; for a text alone in a decoder, its first token gets None, since nothing precedes it."""
        tokens = [sys.intern(token) for token in self.tokenizer.convert_ids_to_tokens(encoded.text.tolist())]
        missing = len(tokens) - len(logprobs)
        return TokenScores(tuple(tokens), (*[None] * missing, *logprobs), encoded.truncated)

    def read_alternatives(
        self, requests: Sequence[ToScore], top: int
    ) -> Iterator[tuple[list[int], list[TokenAlternatives]]]:
        """Yield (positions, steps) batch by batch: of the answer's tokens, and of the end token after them.

        Raises:
            BadInput: as `Encoder.encode` and `Scorer.score`.
        """
        encoded = self._encoder.encode(requests, ScoringRule(score_end=True))
        batches = self._scorer.score(encoded, None, top=min(top, self.token_count))
        yield from read_alternatives(batches, self.tokenizer, encoded)

    def read_states(
        self, texts: Sequence[str], reading: StateOptions, batch_size: int, batch_tokens: int | None = None
    ) -> Iterator[tuple[list[int], list[np.ndarray]]]:
        """Refuse: llama.cpp returns no states by layer.

        Raises:
            BadInput: always.
        """
        raise BadInput(
            f"{self.identity.name} is a GGUF file, which gives no hidden states; load the checkpoint itself"
        )


def bytes_per_token(config: Any) -> int:
    """Return the bytes that a token's keys and values take in the cache, in float32."""
    if config.model_type == "bloom":
        return int(2 * 4 * config.n_layer * config.hidden_size)
    return int(2 * 4 * (config.num_decoder_layers or config.num_layers) * config.num_heads * config.d_kv)


def _expect_finite(finite: bool) -> None:
    if not finite:
        raise not_finite()


def _expect_plain(decoding: Decoding) -> None:
    """Refuse beams and penalties.

    Raises:
        BadInput: one of them.
    """
    for name in ("num_beams", "repetition_penalty"):
        if (given := getattr(decoding, name)) != 1:
            raise BadInput(
                f"{name}={given}: GGUF files are decoded with {name}=1 only; load the checkpoint itself for others"
            )
