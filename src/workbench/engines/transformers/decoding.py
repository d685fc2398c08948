"""Generation with a transformers model, in a continuous batch; greedy output equals that of transformers in float32.

Beams, repetition penalties, other architectures and unusual generation settings use transformers' `generate`, in batches.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from workbench.engines.transformers import bloom, mt5
from workbench.engines.transformers.continuous_batch import ContinuousBatch, Decoder, Prompt, See
from workbench.engines.transformers.hooks import Edits
from workbench.engines.transformers.loading import quiet
from workbench.engines.transformers.out_of_memory import in_halves, parts
from workbench.engines.transformers.padding import padded, real
from workbench.engines.transformers.placement import stays_in_place
from workbench.engines.transformers.precision import expect_finite
from workbench.engines.transformers.sampling import RowNoise, noise_source, warpers
from workbench.models.requests import Decoding

DECODERS: dict[str, Callable[[Any, int, int, int], Decoder]] = {"bloom": bloom.Decoder, "mt5": mt5.Decoder}
_FROM_THE_CHECKPOINT = {  # settings taken from generation_config; all others come from the caller or concern the output format
    "bad_words_ids", "begin_suppress_tokens", "bos_token_id", "decoder_start_token_id", "early_stopping",
    "encoder_no_repeat_ngram_size", "encoder_repetition_penalty", "eos_token_id", "exponential_decay_length_penalty",
    "forced_bos_token_id", "forced_eos_token_id", "length_penalty", "no_repeat_ngram_size", "remove_invalid_values",
    "renormalize_logits", "sequence_bias", "suppress_tokens",
}  # fmt: skip
_NO_SHAPING = {"bos_token_id", "decoder_start_token_id", "eos_token_id"}
_OF_BEAMS = {"early_stopping", "length_penalty"}


@dataclass(frozen=True)
class TextGenerator:
    """A model that generates answers to prompts; `ends` are its end tokens, `pad` its padding token, `edits` changes to its states.

    `see` is called with a prompt's number and its answer so far, after each token; what it raises ends the generation.
    """

    model: Any
    ends: frozenset[int]
    pad: int
    is_encoder_decoder: bool
    edits: Edits | None = None
    see: See | None = None

    def generate(
        self, prompts: Sequence[Prompt], decoding: Decoding, rows: int
    ) -> Iterator[dict[int, list[int]]]:
        """Yield generated token ids by prompt number, including an end token, as prompts finish.

        Args:
            rows: maximum number of prompts decoded at once; halved when memory runs out.

        Raises:
            BadInput: logits that are not finite, or a single prompt that does not fit into memory.
        """
        lengths = [len(prompt.ids) for prompt in prompts]
        order = sorted(range(len(prompts)), key=lambda number: (-lengths[number], number))
        work = self._in_continuous_batch if self._has_own_loop(decoding) else self._in_batches
        yield from in_halves(order, rows, lengths, lambda left, size: work(prompts, left, decoding, size))

    def _has_own_loop(self, decoding: Decoding) -> bool:
        others = self._from_the_checkpoint().keys() - _NO_SHAPING - _OF_BEAMS
        plain = decoding.num_beams == 1 and decoding.repetition_penalty == 1.0 and self.edits is None
        return (
            plain and not others and self.model.config.model_type in DECODERS and stays_in_place(self.model)
        )

    def _from_the_checkpoint(self) -> dict[str, Any]:
        file = self.model.generation_config.to_diff_dict()
        names = sorted(_FROM_THE_CHECKPOINT & file.keys())
        return {name: file[name] for name in names if file[name] not in (None, False)}

    def _in_continuous_batch(
        self, prompts: Sequence[Prompt], order: Sequence[int], decoding: Decoding, rows: int
    ) -> Iterator[dict[int, list[int]]]:
        rows = min(rows, len(order))
        decoder = DECODERS[self.model.config.model_type](
            self.model, rows, len(prompts[order[0]].ids), decoding.max_new_tokens
        )
        batch = ContinuousBatch(decoder, self.ends, self._expect_finite, self.see)
        return batch.generate(prompts, order, decoding, rows)

    def _expect_finite(self, finite: bool) -> None:
        expect_finite(self.model, "logits", finite=finite)

    def _in_batches(
        self, prompts: Sequence[Prompt], order: Sequence[int], decoding: Decoding, rows: int
    ) -> Iterator[dict[int, list[int]]]:
        lengths = [len(prompt.ids) for prompt in prompts]
        for numbers in parts(order, lengths, rows):
            longest = lengths[numbers[0]]  # a decoder continues at the right end, so pad on the left
            shifts = [0 if self.is_encoder_decoder else longest - lengths[number] for number in numbers]
            with self.edits.during(numbers, shifts) if self.edits else contextlib.nullcontext():
                answers = self._in_batch([prompts[number] for number in numbers], shifts, decoding, numbers)
            yield dict(zip(numbers, answers, strict=True))

    @torch.inference_mode()
    def _in_batch(
        self, prompts: Sequence[Prompt], shifts: Sequence[int], decoding: Decoding, numbers: Sequence[int]
    ) -> list[list[int]]:
        """Generate with transformers' `generate`; `shifts` says how much padding is before each prompt."""
        ids = [prompt.ids for prompt in prompts]
        device = self.model.device
        read, mask = padded(ids, device, self.pad), real(ids, device)
        read = torch.stack([row.roll(shift) for row, shift in zip(read, shifts, strict=True)])
        mask = torch.stack([row.roll(shift) for row, shift in zip(mask, shifts, strict=True)])
        processors = LogitsProcessorList([Finite(self.model), *warpers(decoding)])
        if decoding.do_sample:
            processors.append(RowNoise([noise_source(prompt.seed) for prompt in prompts]))
        begin = 1 if self.is_encoder_decoder else read.shape[1]
        if self.see:
            processors.append(Seen(self.see, numbers, begin, decoding.num_beams))
        start_token = getattr(self.model.config, "decoder_start_token_id", None)
        settings = GenerationConfig(
            **{
                "decoder_start_token_id": start_token,
                **self._from_the_checkpoint(),
                "eos_token_id": sorted(self.ends),
            },
            max_new_tokens=decoding.max_new_tokens,
            min_new_tokens=decoding.min_new_tokens,
            num_beams=decoding.num_beams,
            repetition_penalty=decoding.repetition_penalty,
            do_sample=False,  # sampling is greedy decoding of noisy logits, see `sampling`
            pad_token_id=self.pad,
        )
        with quiet(), _only(self.model, settings):
            output = self.model.generate(
                input_ids=read, attention_mask=mask, generation_config=settings, logits_processor=processors
            )
        return output[:, begin:].tolist()


class Finite(LogitsProcessor):
    """Refuse logits that are not finite; excluded tokens, at minus infinity, are allowed."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return the scores unchanged."""
        expect_finite(self.model, "logits", finite=bool(scores.amax(-1).isfinite().all()))
        return scores


class Seen(LogitsProcessor):
    """Show the answers so far, of several beams the best one's, before each further token."""

    def __init__(self, see: See, numbers: Sequence[int], begin: int, beams: int) -> None:
        self.see, self.numbers, self.begin, self.beams = see, numbers, begin, beams

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return the scores unchanged."""
        for number, row in zip(self.numbers, input_ids[:: self.beams, self.begin :].tolist(), strict=True):
            self.see(number, row)
        return scores


@contextlib.contextmanager
def _only(model: Any, settings: GenerationConfig) -> Iterator[None]:
    """Make a model generate with exactly these settings; transformers fills gaps in them from the model's own settings."""
    own = model.generation_config
    model.generation_config = settings
    try:
        yield
    finally:
        model.generation_config = own
