"""Text from a model, asked of the store first.

`max_new_tokens` has no default here: the hub's of 20 is the family's most reported trap. Sampling needs a seed, since
an answer without one cannot be asked for again.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from workbench.errors import BadInput
from workbench.inference.cached import Kind, ask, expect_whole
from workbench.models import Model, expect_model
from workbench.models.requests import Decoded, Decoding, ToGenerate


@dataclass(frozen=True)
class Generation:
    """An answer: the exact text after the prompt, its tokens, and whether the model ended it by itself."""

    prompt: str
    text: str
    token_count: int
    finished: bool
    sample: int = 0


def generate(
    model: Model,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    min_new_tokens: int = 0,
    num_beams: int = 1,
    repetition_penalty: float = 1.0,
    do_sample: bool = False,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int | None = None,
    samples: int = 1,
    batch_size: int = 32,
    progress: bool = True,
) -> list[Generation]:
    """Generate an answer to each prompt, greedily unless told otherwise.

    At most `batch_size` prompts are at work at once; one that ends makes room for the next. A sample depends on (seed,
    prompt, sample index) and on nothing else in the batch. `top_k=0` and `top_p=1` cut nothing. Special tokens are the tokenizer's own: none for BLOOM, the end token after the prompt for mT5.

    Returns:
        One record per prompt in order; with `samples` n > 1, n records per prompt, one after the other.

    Raises:
        BadInput: an empty prompt, one too long for the context, sampling without a seed, impossible settings.
        NotReachable: an answer is missing and the weights are not to be had.
        StoreFailed: the store is damaged, full or read-only.
    """
    expect_model(model)
    prompts = _checked(prompts)
    decoding = Decoding(
        max_new_tokens,
        min_new_tokens,
        num_beams,
        repetition_penalty,
        do_sample,
        temperature,
        top_k,
        top_p,
        seed,
    )
    _check(decoding, samples)
    expect_whole("batch_size", batch_size)
    model.check_prompts(prompts)
    requests = [ToGenerate(prompt, sample) for prompt in prompts for sample in range(samples)]
    kind = Kind(
        name="generate",
        settings=asdict(decoding),
        encode=vars,
        decode=lambda value: Decoded(**value),
        compute=lambda missing: model.engine.generate(missing, decoding, batch_size),
    )
    answers, _ = ask(model, kind, requests, batch=batch_size, progress=progress)
    return [
        Generation(request.prompt, answer.text, answer.token_count, answer.finished, request.sample)
        for request, answer in zip(requests, answers, strict=True)
    ]


def _checked(prompts: Sequence[str]) -> list[str]:
    if isinstance(prompts, str):
        raise BadInput("prompts is one string; give a list of prompts")
    for number, prompt in enumerate(prompts):
        if not isinstance(prompt, str) or not prompt.strip():
            raise BadInput(f"prompt {number} is {prompt!r}; every prompt needs some text")
    return list(prompts)


def _check(decoding: Decoding, samples: int) -> None:
    if not isinstance(decoding.max_new_tokens, int):
        raise BadInput(f"max_new_tokens={decoding.max_new_tokens!r}; give a whole number")
    if (
        decoding.max_new_tokens < 1
        or decoding.min_new_tokens > decoding.max_new_tokens
        or decoding.min_new_tokens < 0
    ):
        raise BadInput(
            f"max_new_tokens={decoding.max_new_tokens} and min_new_tokens={decoding.min_new_tokens}: "
            "the first must be at least 1, the second between 0 and the first"
        )
    if decoding.num_beams < 1 or decoding.repetition_penalty <= 0 or samples < 1:
        raise BadInput("num_beams and samples must be at least 1, repetition_penalty above 0")
    if not decoding.do_sample:
        sampling = (decoding.temperature, decoding.top_k, decoding.top_p, decoding.seed, samples)
        if sampling != (1.0, 0, 1.0, None, 1):
            raise BadInput(
                "temperature, top_k, top_p, seed and samples need do_sample=True (on the command line --sample); "
                "greedy text has one answer"
            )
        return
    if decoding.seed is None:
        raise BadInput("sampling without a seed cannot be stored or repeated; give seed=0, say (--seed 0)")
    if decoding.num_beams > 1:
        raise BadInput("sampling with beams is not supported; use num_beams=1 (--beams 1)")
    if decoding.temperature <= 0 or not 0 < decoding.top_p <= 1 or decoding.top_k < 0:
        raise BadInput("temperature must be above 0, top_p in (0, 1], top_k at least 0")
