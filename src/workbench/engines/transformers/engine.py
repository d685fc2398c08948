"""The transformers engine: a loaded model that generates, scores and returns hidden states.

This module converts requests to token ids and results to answers; the computation is in `log_probabilities`, `decoding` and
`states`. Answers do not depend on the batch beyond rounding.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from copy import copy
from importlib.metadata import version
from threading import RLock

import numpy as np
import torch

from workbench.engines.transformers.activity import read_activity
from workbench.engines.transformers.alternatives import read_alternatives
from workbench.engines.transformers.continuous_batch import See
from workbench.engines.transformers.decoding import Prompt, TextGenerator
from workbench.engines.transformers.encoding import Encoded, Encoder, expect_room, short
from workbench.engines.transformers.handed_out import Snapshot, snapshot
from workbench.engines.transformers.hooks import Edits
from workbench.engines.transformers.lens import places_of, read_lens
from workbench.engines.transformers.loading import read_weights
from workbench.engines.transformers.log_probabilities import TREES, Scorer, Strategy
from workbench.engines.transformers.placement import stays_in_place
from workbench.engines.transformers.precision import better_wide
from workbench.engines.transformers.states import read_states, read_token_states
from workbench.errors import BadInput
from workbench.models.affine_lens import AffineLens
from workbench.models.engines import Watch
from workbench.models.identity import Identity
from workbench.models.interventions import Intervention
from workbench.models.memory import expect_batch
from workbench.models.requests import (
    AnsweredPositions,
    ComputeOptions,
    Decoded,
    Decoding,
    IdsToGenerate,
    IdsToScore,
    Lens,
    Part,
    ScoringRule,
    Stack,
    StateOptions,
    TextPositions,
    ToCount,
    ToGenerate,
    TokenAlternatives,
    TokenRank,
    TokenScores,
    ToLens,
    ToScore,
)  # fmt: skip
from workbench.models.simulated import Simulated

_LIBRARIES = ("torch", "transformers", "tokenizers")
_QUANTIZING = "bitsandbytes"
_SENTINEL = re.compile(r"<extra_id_\d+>")  # stands for a masked span in the pretraining of T5 and mT5


class TransformersEngine:
    """A transformers model and its tokenizer, answering in batches.

    Attributes:
        model, tokenizer: the transformers objects themselves.
        device_family: "cpu", "cuda" or "mps".
        libraries: the versions of torch, transformers and tokenizers, and of bitsandbytes for quantized weights.
        lock: held during computation, so that one thread computes at a time.
    """

    def __init__(
        self, identity: Identity, *, dtype: str, device: str = "auto", random_seed: int | None = None,
        quantization: str | None = None,
    ) -> None:  # fmt: skip
        self.identity = identity
        self.lock = RLock()
        self._handed_out: Snapshot | None = None
        self._origin = self
        self._interventions: Sequence[Intervention] = ()
        self.is_encoder_decoder = identity.is_encoder_decoder
        self.model, self.tokenizer = read_weights(identity, dtype, device, random_seed, quantization)
        self.device_family = self.model.device.type
        is_packed = quantization is not None and Simulated.read(quantization) is None
        libraries = (*_LIBRARIES, _QUANTIZING) if is_packed else _LIBRARIES
        self.libraries = ", ".join(f"{name} {version(name)}" for name in libraries)
        ends = self.model.generation_config.eos_token_id
        ends = self.model.config.eos_token_id if ends is None else ends
        self._ends = frozenset([ends] if isinstance(ends, int) else ends or [])
        pads = (
            self.tokenizer.pad_token_id,
            getattr(self.model.config, "pad_token_id", None),
            *sorted(self._ends),
            0,
        )
        self._pad = next(pad for pad in pads if pad is not None)
        self._special = frozenset(self.tokenizer.all_special_ids)
        names = {token: str(self.tokenizer.convert_ids_to_tokens(token)) for token in self._special}
        self._sentinels = frozenset(token for token, name in names.items() if _SENTINEL.fullmatch(name))
        self.end = min(self._ends, default=self._pad)
        self.token_count = self.model.get_input_embeddings().weight.shape[0]
        self._encoder = Encoder(identity, self.tokenizer, end=self.end, rows=self.token_count)

    @property
    def scores_wide(self) -> bool:
        """Whether scores are computed in float32 although the weights are in half precision, because it is faster here."""
        return self._has_trees and better_wide(self.model)

    @property
    def _has_trees(self) -> bool:
        in_place = self.model.config.model_type in TREES and stays_in_place(self.model)
        return in_place and not self._interventions

    def intervened(self, interventions: Sequence[Intervention]) -> "TransformersEngine":
        """Return an engine with the same weights and lock that makes these interventions in every forward pass."""
        found = copy(self)
        found._interventions = tuple(interventions)
        return found

    def _edits(self, prompts: Sequence[str], lengths: Sequence[int]) -> Edits | None:
        if not self._interventions:
            return None
        return Edits(self.model, self._interventions, prompts, lengths)

    def hand_out(self) -> None:
        """Record the state of the model before outside code gets access to it."""
        self._origin._handed_out = self._origin._handed_out or snapshot(self.model, self.tokenizer)

    def changed(self) -> str | None:
        """Return the name of the first part that has changed since `hand_out`; None if there is none."""
        handed_out = self._origin._handed_out
        return None if handed_out is None else handed_out.difference(self.model, self.tokenizer)

    def generate(
        self, requests: Sequence[ToGenerate], decoding: Decoding, batch_size: int
    ) -> Iterator[tuple[list[int], list[Decoded]]]:
        """Yield (positions, generated texts) as rows finish; the longest prompts start first.

        Raises:
            BadInput: a prompt that does not fit into the context (for a decoder, together with its answer); otherwise
                as `TextGenerator.generate`.
        """
        return self.generate_watched(requests, decoding, batch_size, None)

    def generate_watched(
        self, requests: Sequence[ToGenerate], decoding: Decoding, batch_size: int, watch: Watch | None
    ) -> Iterator[tuple[list[int], list[Decoded]]]:
        """As `generate`; after each token `watch` gets a request's position and its text so far (of beams, the best one's)."""
        encoded = self._encoder.ids([request.prompt for request in requests], special_tokens=True)
        room = self.identity.context_length - (0 if self.is_encoder_decoder else decoding.max_new_tokens)
        for request, ids in zip(requests, encoded, strict=True):
            if len(ids) > room:
                raise BadInput(
                    f"the prompt {short(request.prompt)!r} has {len(ids)} tokens; with "
                    f"max_new_tokens={decoding.max_new_tokens} {self.identity.name} has room for {max(room, 0)}: shorten one of them"
                )
        prompts = [
            IdsToGenerate(tuple(ids.tolist()), f"{decoding.seed}|{request.sample}|{request.prompt}")
            for request, ids in zip(requests, encoded, strict=True)
        ]
        if self._interventions and decoding.num_beams > 1:
            raise BadInput("interventions are made in greedy decoding and sampling; use num_beams=1")
        edits = self._edits([request.prompt for request in requests], [len(ids) for ids in encoded])

        def see(position: int, ids: list[int]) -> None:
            if watch:
                watch(position, self.decode(ids).text)

        for positions, found in self._generated(prompts, decoding, batch_size, edits, see if watch else None):
            yield positions, [self.decode(ids) for ids in found]

    def generate_ids(
        self, requests: Sequence[IdsToGenerate], decoding: Decoding, batch_size: int
    ) -> Iterator[tuple[list[int], list[list[int]]]]:
        """Yield (positions, token ids) as rows finish, with the end token where there is one."""
        return self._generated(requests, decoding, batch_size, None)

    def _generated(
        self, requests: Sequence[IdsToGenerate], decoding: Decoding, batch_size: int, edits: Edits | None,
        see: See | None = None,
    ) -> Iterator[tuple[list[int], list[list[int]]]]:  # fmt: skip
        prompts = [Prompt(list(request.ids), request.noise) for request in requests]
        generator = TextGenerator(self.model, self._ends, self._pad, self.is_encoder_decoder, edits, see)
        for finished in generator.generate(prompts, decoding, batch_size):
            yield list(finished), list(finished.values())

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of prompts, without the end token that an encoder reads."""
        encoded = self._encoder.ids(texts, special_tokens=not self.is_encoder_decoder)
        return [ids.tolist() for ids in encoded]

    def text(self, ids: Sequence[int]) -> str:
        """Return the text of token ids, special tokens included."""
        return str(self.tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))

    def names(self, ids: Sequence[int]) -> list[str]:
        """Return the tokens as they are written in the vocabulary."""
        return [str(name) for name in self.tokenizer.convert_ids_to_tokens(list(ids))]

    def decode(self, ids: Sequence[int]) -> Decoded:
        """Return the text of generated tokens up to the end token, without special tokens."""
        end = next((place for place, token in enumerate(ids) if token in self._ends), None)
        kept = ids[:end]
        shown = kept
        if marked := not self._sentinels.isdisjoint(
            kept
        ):  # from a pretrained base; the tokenizer counts them as special
            shown = [token for token in kept if token in self._sentinels or token not in self._special]
        text = self.tokenizer.decode(
            shown, skip_special_tokens=not marked, clean_up_tokenization_spaces=False
        )
        return Decoded(str(text), len(kept), end is not None)

    def score(
        self, requests: Sequence[ToScore], rule: ScoringRule, options: ComputeOptions
    ) -> Iterator[tuple[list[int], list[TokenScores]]]:
        """Yield (positions, token scores) batch by batch.

        Raises:
            BadInput: as `Encoder.encode` and `Scorer.score`; or a batch that does not fit into what is free.
        """
        if options.batch_tokens:
            expect_batch(self.identity, self.device_family, options.batch_tokens)
        encoded = self._encoder.encode(requests, rule)
        strategy: Strategy = "trees" if self._has_trees else "rows"
        threads = torch.get_num_threads()
        if options.exact:
            strategy = "exact"
            torch.set_num_threads(1)
        try:
            edits = self._edits([each.prompt for each in requests], [len(each.prompt) for each in encoded])
            scorer = Scorer(self.model, self.is_encoder_decoder, strategy, edits=edits)
            for found in scorer.score(encoded, options.batch_tokens):
                yield list(found), [self._scores(encoded[number], found[number]) for number in found]
        finally:
            torch.set_num_threads(threads)

    def _scores(self, encoded: Encoded, logprobs: list[float]) -> TokenScores:
        """Return the scores of a text; for a text alone in a decoder, its first token gets None, since nothing precedes it."""
        tokens = [sys.intern(token) for token in self.tokenizer.convert_ids_to_tokens(encoded.text.tolist())]
        missing = len(tokens) - len(logprobs)
        return TokenScores(tuple(tokens), (*[None] * missing, *logprobs), encoded.truncated)

    def score_ids(
        self, requests: Sequence[IdsToScore], top: int
    ) -> Iterator[tuple[list[int], list[list[TokenRank]]]]:
        """Yield (positions, ranks) batch by batch; with transformers' own forward, which computes whole rows of logits."""
        encoded = [
            Encoded(np.array(each.prompt, np.int32), np.array(each.ids, np.int32), False) for each in requests
        ]
        scorer = Scorer(self.model, self.is_encoder_decoder, "rows", max(top, 1))
        for found in scorer.score(encoded, None):
            yield list(found), [[_rank(numbers, top) for numbers in rows] for rows in found.values()]

    def read_alternatives(
        self, requests: Sequence[ToScore], top: int
    ) -> Iterator[tuple[list[int], list[TokenAlternatives]]]:
        """Yield (positions, steps) batch by batch: of the answer's tokens, and of the end token after them.

        Raises:
            BadInput: as `Encoder.encode` and `Scorer.score`.
        """
        encoded = self._encoder.encode(requests, ScoringRule(score_end=True))
        edits = self._edits([each.prompt for each in requests], [len(each.prompt) for each in encoded])
        scorer = Scorer(self.model, self.is_encoder_decoder, "rows", min(top, self.token_count), edits=edits)
        yield from read_alternatives(scorer.score(encoded, None), self.tokenizer, encoded)

    def read_states(
        self, texts: Sequence[str], reading: StateOptions, batch_size: int, batch_tokens: int | None = None
    ) -> Iterator[tuple[list[int], list[np.ndarray]]]:
        """Yield (positions, states) batch by batch, each float32 of shape (L+1, D): embeddings, then every layer.

        Raises:
            BadInput: a text without tokens, or one beyond the context; or as `states.read_states`.
        """
        if batch_tokens:
            expect_batch(self.identity, self.device_family, batch_tokens)
        encoded = self._encoded(texts)
        edits = self._edits(texts, [len(ids) for ids in encoded])
        yield from read_states(self.model, encoded, reading, batch_size, batch_tokens, edits)

    def read_token_states(
        self, texts: Sequence[TextPositions], stack: Stack, part: Part, batch_size: int
    ) -> Iterator[tuple[list[int], list[np.ndarray]]]:
        """Yield (positions, states) batch by batch, each float32 of shape (layers, P, width); texts are read as prompts are.

        Raises:
            BadInput: as `read_states`; or a position beyond a text.
        """
        prompts = [each.text for each in texts]
        encoded = self._encoded(prompts, special_tokens=True)
        edits = self._edits(prompts, [len(ids) for ids in encoded])
        begun = [each.answer if isinstance(each, AnsweredPositions) else "" for each in texts]
        pairs = list(zip(encoded, self._encoder.ids(begun, special_tokens=False), strict=True))
        for text, pair in zip(prompts, pairs, strict=True):
            expect_room(f"the text {short(text)!r} and its answer have", sum(map(len, pair)), self.identity)
        where = [each.positions for each in texts]
        yield from read_token_states(self.model, pairs, where, (stack, part), batch_size, edits)

    def read_activity(
        self, groups: Sequence[ToCount], batch_size: int
    ) -> Iterator[tuple[list[int], list[np.ndarray]]]:
        """Yield (positions, activity) group by group, each float32 of shape (L, 3, n): see `activity.read_activity`.

        Raises:
            BadInput: a text that does not fit into the context, or as `activity.read_activity`.
        """
        for number, group in enumerate(groups):
            if group.prompts is None:
                nothing = np.empty(0, np.int32)
                alone = self._encoded(group.texts, special_tokens=True)
                encoded = [Encoded(ids, nothing, truncated=False) for ids in alone]
            else:
                pairs = [ToScore(*pair) for pair in zip(group.prompts, group.texts, strict=True)]
                encoded = self._encoder.encode(pairs, ScoringRule())
            edits = self._edits(group.prompts or group.texts, [len(each.prompt) for each in encoded])
            yield [number], [read_activity(self.model, encoded, batch_size, edits)]

    def _encoded(self, texts: Sequence[str], *, special_tokens: bool = False) -> list[np.ndarray]:
        encoded = self._encoder.ids(texts, special_tokens=special_tokens)
        for text, ids in zip(texts, encoded, strict=True):
            expect_room(f"the text {short(text)!r} has", len(ids), self.identity)
        return encoded

    def read_lens(
        self, requests: Sequence[ToLens], top: int, batch_size: int, affine: AffineLens | None = None
    ) -> Iterator[tuple[list[int], list[Lens]]]:
        """Yield (positions, readings) batch by batch, of the first tokens of all words, with and without a space before them.

        Raises:
            BadInput: as `lens.places_of` and `lens.read_lens`.
        """
        places = places_of(requests, self._encoder, self.tokenizer, self.identity)
        edits = self._edits([each.prompt for each in requests], [len(each.prompt) for each in places])
        yield from read_lens(self.model, self.tokenizer, places, top, batch_size, edits, affine)


def _rank(numbers: Sequence[float], top: int) -> TokenRank:
    """Return the rank in a row of `Scorer` with `top`: the log-probability, those of the likeliest tokens, their ids."""
    half = 1 + len(numbers) // 2
    ids = [int(number) for number in numbers[half:]]
    return TokenRank(numbers[0], tuple(zip(ids[:top], numbers[1:half], strict=False)))
