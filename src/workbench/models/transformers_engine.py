"""The transformers engine: weights in memory that generate, score and show hidden states.

Both architectures pass through the same doors; where they differ
(where the prompt is read, where the scored tokens' logits come from) two short functions stand side by side. Answers
do not depend on the batch beyond float32's rounding: padding is masked, and sampling draws its noise per row.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from workbench.errors import BadInput
from workbench.models.identity import Identity
from workbench.models.loading import quiet, read_weights
from workbench.models.requests import Decoded, Decoding, ScoringRule, ToGenerate, TokenScores, ToRead, ToScore
from workbench.models.sampling import samplers


class TransformersEngine:
    """A transformers model and its tokenizer, answering in batches.

    Attributes:
        model, tokenizer: the transformers objects themselves.
        device_family: "cpu", "cuda" or "mps".
    """

    def __init__(
        self, identity: Identity, *, dtype: str, device: str = "auto", random_seed: int | None = None
    ) -> None:
        self.identity = identity
        self.is_encoder_decoder = identity.is_encoder_decoder
        self.model, self.tokenizer = read_weights(identity, dtype, device, random_seed)
        self.device_family = self.model.device.type
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

    # ---- generation ------------------------------------------------------------------------------------------

    def generate(
        self, requests: Sequence[ToGenerate], decoding: Decoding, batch_size: int
    ) -> Iterator[tuple[list[int], list[Decoded]]]:
        """Yield (positions, texts) batch by batch, longest prompts first.

        Raises:
            BadInput: a prompt that does not fit the context together with its answer.
        """
        prompts = self._encode([request.prompt for request in requests], special_tokens=True)
        room = self.identity.context_length - (0 if self.is_encoder_decoder else decoding.max_new_tokens)
        for request, ids in zip(requests, prompts, strict=True):
            if len(ids) > room:
                raise BadInput(
                    f"the prompt {_short(request.prompt)!r} has {len(ids)} tokens; with "
                    f"max_new_tokens={decoding.max_new_tokens} {self.identity.name} has room for {max(room, 0)}: shorten one of them"
                )
        for positions in _batches([len(ids) for ids in prompts], batch_size):
            rows = [requests[position] for position in positions]
            yield positions, self._generate([prompts[position] for position in positions], rows, decoding)

    @torch.inference_mode()
    def _generate(
        self, prompts: list[list[int]], rows: list[ToGenerate], decoding: Decoding
    ) -> list[Decoded]:
        ids, mask = self._pad_batch(prompts, left=not self.is_encoder_decoder)
        processors = samplers([f"{decoding.seed}|{row.sample}|{row.prompt}" for row in rows], decoding)
        with quiet():
            output = self.model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=decoding.max_new_tokens,
                min_new_tokens=decoding.min_new_tokens,
                num_beams=decoding.num_beams,
                repetition_penalty=decoding.repetition_penalty,
                do_sample=False,  # sampling is greedy decoding of noisy logits, see `sampling`
                temperature=None,
                top_k=None,
                top_p=None,
                pad_token_id=self._pad,
                logits_processor=processors,
            )
        start = 1 if self.is_encoder_decoder else ids.shape[1]
        return [self._decoded(row) for row in output[:, start:].tolist()]

    def _decoded(self, ids: list[int]) -> Decoded:
        end = next((place for place, token in enumerate(ids) if token in self._ends), None)
        kept = ids[:end]
        text = str(self.tokenizer.decode(kept, skip_special_tokens=True, clean_up_tokenization_spaces=False))
        return Decoded(text, len(kept), end is not None)

    # ---- scoring ---------------------------------------------------------------------------------------------

    def score(
        self, requests: Sequence[ToScore], rule: ScoringRule, batch_size: int
    ) -> Iterator[tuple[list[int], list[TokenScores]]]:
        """Yield (positions, token scores) batch by batch: log-softmax in float32, logits only where needed.

        Raises:
            BadInput: a text without tokens, or one that does not fit the context under a rule that cuts nothing.
        """
        prompts = self._encode([request.prompt for request in requests], special_tokens=rule.special_tokens)
        space = " " if rule.leading_space else ""
        texts = self._encode([space + request.text for request in requests], special_tokens=False)
        if rule.score_end:
            texts = [[*ids, min(self._ends)] for ids in texts]
        cut = [False] * len(prompts)
        if rule.max_prompt_tokens is not None:  # what the protocol allows and the model was made for
            longest = min(rule.max_prompt_tokens, self.identity.context_length)
            cut = [len(ids) > longest for ids in prompts]
            prompts = [ids[:longest] for ids in prompts]
        for request, prompt, text in zip(requests, prompts, texts, strict=True):
            self._check_fit(request, prompt, text, rule)
        score_batch = self._score_after_encoder if self.is_encoder_decoder else self._score_after_prefix
        for positions in _batches([len(p) + len(t) for p, t in zip(prompts, texts, strict=True)], batch_size):
            scores = score_batch([prompts[i] for i in positions], [texts[i] for i in positions])
            yield (
                positions,
                [
                    TokenScores(
                        tuple(self.tokenizer.convert_ids_to_tokens(texts[i])), tuple(logprobs), cut[i]
                    )
                    for i, logprobs in zip(positions, scores, strict=True)
                ],
            )

    def _check_fit(self, request: ToScore, prompt: list[int], text: list[int], rule: ScoringRule) -> None:
        if not text:
            raise BadInput(
                f"the text {request.text!r} has no tokens to score (prompt {_short(request.prompt)!r})"
            )
        longest = max(len(prompt), len(text)) if self.is_encoder_decoder else len(prompt) + len(text)
        if rule.max_prompt_tokens is None and longest > self.identity.context_length:
            raise BadInput(
                f"prompt and text {_short(request.prompt + ' … ' + request.text)!r} have {len(prompt)} and {len(text)} "
                f"tokens; {self.identity.name} takes {self.identity.context_length}: shorten them"
            )

    @torch.inference_mode()
    def _score_after_prefix(
        self, prompts: list[list[int]], texts: list[list[int]]
    ) -> list[list[float | None]]:
        """Decoder-only: the prompt stands before the text; without one, the first token has no score."""
        ids, mask = self._pad_batch([p + t for p, t in zip(prompts, texts, strict=True)], left=False)
        keep = torch.zeros_like(mask, dtype=torch.bool)
        targets: list[int] = []
        for row, (prompt, text) in enumerate(zip(prompts, texts, strict=True)):
            first = max(len(prompt), 1)
            keep[row, first - 1 : len(prompt) + len(text) - 1] = True
            targets += text[first - len(prompt) :]
        if self.identity.architecture == "bloom":
            logits = self.model(input_ids=ids, attention_mask=mask, logits_to_keep=keep).logits
        else:
            logits = self.model(input_ids=ids, attention_mask=mask).logits[keep]
        flat = iter(_log_probability(logits, targets))
        return [[None if not prompt and i == 0 else next(flat) for i in range(len(text))] for prompt, text in zip(prompts, texts, strict=True)]  # fmt: skip

    @torch.inference_mode()
    def _score_after_encoder(
        self, prompts: list[list[int]], texts: list[list[int]]
    ) -> list[list[float | None]]:
        """Encoder-decoder: the encoder reads the prompt (its end token if there is none), the decoder is forced."""
        ids, mask = self._pad_batch([prompt or [min(self._ends)] for prompt in prompts], left=False)
        start = self.model.config.decoder_start_token_id
        forced, _ = self._pad_batch([[start, *text[:-1]] for text in texts], left=False)
        logits = self.model(input_ids=ids, attention_mask=mask, decoder_input_ids=forced).logits
        keep = torch.zeros(forced.shape, dtype=torch.bool, device=logits.device)
        for row, text in enumerate(texts):
            keep[row, : len(text)] = True
        flat = iter(_log_probability(logits[keep], [token for text in texts for token in text]))
        return [[next(flat) for _ in text] for text in texts]

    # ---- hidden states ---------------------------------------------------------------------------------------

    def read_states(
        self, texts: Sequence[str], reading: ToRead, batch_size: int
    ) -> Iterator[tuple[list[int], list[np.ndarray]]]:
        """Yield (positions, states) batch by batch, each float32 of shape (L+1, D): embeddings, then every layer.

        An encoder-decoder's decoder is read at its start token, with the text in the encoder.
        """
        encoded = self._encode(texts, special_tokens=False)
        for text, ids in zip(texts, encoded, strict=True):
            if not 0 < len(ids) <= self.identity.context_length:
                raise BadInput(
                    f"the text {_short(text)!r} has {len(ids)} tokens; "
                    f"{self.identity.name} takes 1 to {self.identity.context_length}"
                )
        for positions in _batches([len(ids) for ids in encoded], batch_size):
            states = self._read_batch([encoded[position] for position in positions], reading)
            yield positions, list(states)

    @torch.inference_mode()
    def _read_batch(self, encoded: list[list[int]], reading: ToRead) -> np.ndarray:
        ids, mask = self._pad_batch(encoded, left=False)
        options = {"attention_mask": mask, "output_hidden_states": True}
        if self.is_encoder_decoder and reading.side == "decoder":
            start = torch.full((len(encoded), 1), self.model.config.decoder_start_token_id, device=ids.device)
            layers = self.model(input_ids=ids, decoder_input_ids=start, **options).decoder_hidden_states
            mask = torch.ones_like(start)
        elif self.is_encoder_decoder:
            layers = self.model.get_encoder()(input_ids=ids, **options).hidden_states
        else:
            layers = self.model.base_model(input_ids=ids, **options).hidden_states
        pooled = [_pool(layer.float(), mask.to(layer.device), reading.pooling).cpu() for layer in layers]
        return torch.stack(pooled, dim=1).numpy()

    # ---- shared ----------------------------------------------------------------------------------------------

    def _encode(self, texts: Sequence[str], *, special_tokens: bool) -> list[list[int]]:
        """Token ids of each text, shape (N, any); equal texts are encoded once."""
        unique = list(dict.fromkeys(texts))
        ids = self.tokenizer(unique, add_special_tokens=special_tokens, truncation=False, verbose=False)[
            "input_ids"
        ]
        known = dict(zip(unique, ids, strict=True))
        return [list(known[text]) for text in texts]

    def _pad_batch(self, rows: list[list[int]], *, left: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids and attention mask, both (B, T); padding is masked, and ALiBi counts from the first real token."""
        longest = max(len(row) for row in rows)
        ids = torch.full((len(rows), longest), self._pad, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for number, row in enumerate(rows):
            place = slice(longest - len(row), None) if left else slice(0, len(row))
            ids[number, place] = torch.tensor(row, dtype=torch.long)
            mask[number, place] = 1
        return ids.to(self.model.device), mask.to(self.model.device)


def _batches(lengths: list[int], batch_size: int) -> Iterator[list[int]]:
    """Positions sorted by length, longest first: little padding, and what runs out of memory does so at once."""
    order = sorted(range(len(lengths)), key=lambda position: (-lengths[position], position))
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def _log_probability(logits: torch.Tensor, targets: list[int]) -> list[float]:
    """Log-probabilities in nats of the target tokens: logits (N, V), N targets; softmax in float32."""
    chosen = torch.tensor(targets, dtype=torch.long, device=logits.device)
    logits = logits.float()
    return (logits.gather(-1, chosen[:, None])[:, 0] - logits.logsumexp(-1)).tolist()


def _pool(states: torch.Tensor, mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """(B, T, D) to (B, D) over real tokens; `weighted` weighs a token by its position, as MEXA does."""
    if pooling == "last":
        last = mask.sum(1) - 1
        return states[torch.arange(len(states), device=states.device), last]
    weights = mask.float() if pooling == "mean" else mask.float().cumsum(1) * mask
    return (states * weights[..., None]).sum(1) / weights.sum(1, keepdim=True)


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "…"
