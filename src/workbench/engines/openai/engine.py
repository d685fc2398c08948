"""An engine whose model is on an OpenAI-compatible server; tokenization and scoring rules are ours, the arithmetic is the server's.

Requests go out in batches, several at a time, and each batch is yielded, and stored by the caller, when its reply is there. If
one fails for good, those under way are waited for and yielded first, so that nothing that was computed is lost.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from itertools import chain
from multiprocessing.pool import ThreadPool
from threading import Event, RLock
from typing import Any, TypeVar

from workbench.engines.openai.replies import Choice
from workbench.engines.openai.server import Server
from workbench.engines.transformers.alternatives import read_alternatives
from workbench.engines.transformers.encoding import Encoded, Encoder, short
from workbench.errors import BadInput, WorkbenchError
from workbench.models.identity import Identity
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

_AT_ONCE = 4  # requests
_PROMPTS, _TOKENS = 64, 8192  # in a request for scores, at most
Answer = TypeVar("Answer")


class RemoteEngine:
    """A model on a server, as an `Engine`.

    Attributes:
        address: the server's.
        device_family: "remote"; what the server computes on is not known.
        libraries: what serves the model, as far as the server says so.
        lock: held during a call.
    """

    device_family = "remote"
    scores_wide = False

    def __init__(self, identity: Identity, server: Server, encoder: Encoder) -> None:
        self.identity, self._server, self._encoder = identity, server, encoder
        self.address = server.connection.address
        self.libraries = f"server {server.software or 'unknown'}"
        self.lock = RLock()
        tokenizer = encoder.tokenizer
        self._ends = {tokenizer.convert_ids_to_tokens(encoder.end), tokenizer.decode([encoder.end]), ""}

    def hand_out(self) -> None:
        """Refuse: the model is on the server.

        Raises:
            BadInput: always.
        """
        raise BadInput(
            f"{self.identity.name} is on a server, and model.hf needs its weights here; load the checkpoint itself"
        )

    def changed(self) -> str | None:
        """Return None: outside code cannot get at the model."""
        return None

    def generate(
        self, requests: Sequence[ToGenerate], decoding: Decoding, batch_size: int
    ) -> Iterator[tuple[list[int], list[Decoded]]]:
        """Yield (positions, generated texts), `batch_size` prompts to a request.

        Raises:
            BadInput: a prompt beyond the context, or settings that the protocol lacks.
            NotReachable: as `Connection.post`.
        """
        _expect_in_protocol(decoding)
        encoded = self._encoder.ids([request.prompt for request in requests], special_tokens=True)
        room = self.identity.context_length - (
            0 if self.identity.is_encoder_decoder else decoding.max_new_tokens
        )
        for request, ids in zip(requests, encoded, strict=True):
            if not 0 < len(ids) <= room:
                raise BadInput(
                    f"the prompt {short(request.prompt)!r} has {len(ids)} tokens; with "
                    f"max_new_tokens={decoding.max_new_tokens} {self.identity.name} takes 1 to {max(room, 0)}"
                )
        prompts = [ids.tolist() for ids in encoded]
        batches = _of_one_sample(requests, batch_size)

        def ask(batch: list[int]) -> list[Decoded]:
            seed = _seed(decoding, requests[batch[0]].sample)
            return [
                self._decoded(c) for c in self._server.generate([prompts[n] for n in batch], decoding, seed)
            ]

        yield from _answered(batches, ask)

    def _decoded(self, choice: Choice) -> Decoded:
        """Return a completion; a generated end token is among its tokens."""
        has_end = choice.finished and bool(choice.tokens) and choice.tokens[-1] in self._ends
        return Decoded(choice.text, len(choice.tokens) - has_end, choice.finished)

    def score(
        self, requests: Sequence[ToScore], rule: ScoringRule, options: ComputeOptions
    ) -> Iterator[tuple[list[int], list[TokenScores]]]:
        """Yield (positions, token scores); `batch_tokens` limits the tokens of a request to the server.

        Raises:
            BadInput: `exact`, which no server promises, or as `Encoder.encode` and `Server.score`.
            NotReachable: as `Connection.post`.
        """
        if options.exact:
            raise BadInput(
                "a server does not promise identical bits; leave out exact=True, or load the checkpoint itself"
            )
        encoded = self._encoder.encode(requests, rule)
        sizes = [len(each.prompt) + len(each.text) for each in encoded]
        worth = [number for number, size in enumerate(sizes) if size > 1]
        alone = [
            number for number, size in enumerate(sizes) if size == 1
        ]  # a first token has no log-probability
        if alone:
            yield alone, [self._scores(encoded[number], ()) for number in alone]

        def ask(batch: list[int]) -> list[TokenScores]:
            found = self._server.score(
                [(encoded[n].prompt.tolist(), encoded[n].text.tolist()) for n in batch]
            )
            return [self._scores(encoded[n], logprobs) for n, logprobs in zip(batch, found, strict=True)]

        yield from _answered(_packed(worth, sizes, options.batch_tokens or _TOKENS), ask)

    def _scores(self, encoded: Encoded, logprobs: Sequence[float]) -> TokenScores:
        """Return the scores of a text; for a text alone in a decoder, its first token gets None."""
        names = self._encoder.tokenizer.convert_ids_to_tokens(encoded.text.tolist())
        missing = len(names) - len(logprobs)
        return TokenScores(tuple(map(sys.intern, names)), (*[None] * missing, *logprobs), encoded.truncated)

    def read_alternatives(
        self, requests: Sequence[ToScore], top: int
    ) -> Iterator[tuple[list[int], list[TokenAlternatives]]]:
        """Yield (positions, steps): of the answer's tokens, and of the end token after them.

        Raises:
            BadInput: as `Encoder.encode` and `Server.rows`.
            NotReachable: as `Connection.post`.
        """
        encoded = self._encoder.encode(requests, ScoringRule(score_end=True))
        sizes = [len(each.prompt) + len(each.text) for each in encoded]
        batches = _packed([number for number, size in enumerate(sizes) if size > 1], sizes, _TOKENS)

        def ask(batch: list[int]) -> list[list[list[float]]]:
            return self._server.rows(
                [(encoded[n].prompt.tolist(), encoded[n].text.tolist()) for n in batch], top
            )

        nothing: dict[int, list[list[float]]] = {number: [] for number, size in enumerate(sizes) if size == 1}
        found = (dict(zip(*each, strict=True)) for each in _answered(batches, ask))
        yield from read_alternatives(
            chain([nothing] if nothing else [], found), self._encoder.tokenizer, encoded
        )

    def read_states(
        self, texts: Sequence[str], reading: StateOptions, batch_size: int, batch_tokens: int | None = None
    ) -> Iterator[tuple[list[int], list[Any]]]:
        """Refuse: no server returns hidden states.

        Raises:
            BadInput: always.
        """
        raise BadInput(
            f"{self.identity.name} is on a server, which returns no hidden states; load the checkpoint itself"
        )


def _answered(
    batches: Sequence[list[int]], ask: Callable[[list[int]], list[Answer]]
) -> Iterator[tuple[list[int], list[Answer]]]:
    """Yield (positions, answers) of batches as they are answered; after a failure, those under way, and then raise it."""
    ended = Event()

    def answered(batch: list[int]) -> tuple[list[int], list[Answer]] | None:
        return None if ended.is_set() else (batch, ask(batch))

    pool = ThreadPool(_AT_ONCE)  # of daemons: an interrupted process does not wait for replies
    try:
        found, failure = pool.imap_unordered(answered, batches), None
        for _ in batches:
            try:
                pair = next(found)
            except WorkbenchError as error:
                failure = failure or error
                ended.set()
                continue
            if pair is not None:
                yield pair
        if failure is not None:
            raise failure
    finally:
        ended.set()
        pool.terminate()


def _packed(numbers: Sequence[int], sizes: Sequence[int], most: int) -> list[list[int]]:
    """Return requests' numbers in batches of at most `most` tokens in all, in order; one that is larger is alone."""
    batches: list[list[int]] = []
    tokens = most
    for number in numbers:
        tokens += sizes[number]
        if tokens > most or len(batches[-1]) == _PROMPTS:
            batches.append([])
            tokens = sizes[number]
        batches[-1].append(number)
    return batches


def _of_one_sample(requests: Sequence[ToGenerate], most: int) -> list[list[int]]:
    """Return requests' numbers in batches of the same sample, since a request to a server has one seed."""
    by_sample: dict[int, list[int]] = {}
    for number, request in enumerate(requests):
        by_sample.setdefault(request.sample, []).append(number)
    return [
        group[start : start + most] for group in by_sample.values() for start in range(0, len(group), most)
    ]


def _seed(decoding: Decoding, sample: int) -> int | None:
    """Return the seed of a sample, a number of 31 bits; None for greedy decoding."""
    if not decoding.do_sample:
        return None
    digest = blake2b(f"{decoding.seed}|{sample}".encode(), digest_size=4).digest()
    return int.from_bytes(digest) >> 1


def _expect_in_protocol(decoding: Decoding) -> None:
    """Refuse settings that the completions protocol lacks.

    Raises:
        BadInput: one of them.
    """
    usual = Decoding(decoding.max_new_tokens)
    for name in ("min_new_tokens", "num_beams", "repetition_penalty", "top_k"):
        if (given := getattr(decoding, name)) != (wanted := getattr(usual, name)):
            raise BadInput(
                f"{name}={given}: servers are asked with {name}={wanted} only; load the checkpoint itself for others"
            )
