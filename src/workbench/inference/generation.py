"""Text generation, cached in the store.

`max_new_tokens` has no default here: the hub's default of 20 is the most frequently reported problem with this family. Sampling
needs a seed, since an answer sampled without one cannot be reproduced.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field

from workbench.errors import BadInput
from workbench.inference import cached
from workbench.inference.cached import RequestType
from workbench.models import Model, expect_model
from workbench.models.arguments import flag, number, texts, whole
from workbench.models.engines import WatchedEngine
from workbench.models.requests import Decoded, Decoding, ToGenerate
from workbench.store import validation


@dataclass(frozen=True)
class Generation:
    """A generated answer: the exact text after the prompt, its number of tokens, and whether the model ended it.

    The text omits the end token and other special tokens, except the sentinels (`<extra_id_0>`) of the pretrained T5 and mT5
    checkpoints. `from_store` is ignored when answers are compared.
    """

    prompt: str
    text: str
    token_count: int
    finished: bool
    sample: int = 0
    from_store: bool = field(default=False, compare=False)


def generate(
    model: Model,
    prompts: Iterable[str],
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
    watch: Callable[[str, str], None] | None = None,
) -> list[Generation]:
    """Generate an answer to each prompt, by greedy decoding by default.

    At most `batch_size` prompts are decoded at once; when one ends, another takes its place. A sample depends only on (seed,
    prompt, sample index), not on the rest of the batch. `top_k=0` and `top_p=1` disable truncation. Special tokens are the
    tokenizer's own: none for BLOOM, the end token after the prompt for mT5, for other decoders those before the prompt. From a
    checkpoint's generation_config.json only special token ids, constraints and penalties on tokens, and the length penalty and
    early stopping of beam search are used.

    Args:
        watch: Called after each token that is computed with a prompt and its answer so far (of several beams the best one's). What it
            raises ends the call; a service then ends its work, too. Other engines than transformers compute without calling it.

    Returns:
        One record per prompt, in order; with `samples` n > 1, n consecutive records per prompt.

    Raises:
        BadInput: a prompt that is empty, not a string or too long for the context, sampling without a seed, inconsistent
            settings, or logits that are not finite.
        NotReachable: an answer is missing and the weights are unavailable.
        StoreFailed: the store is damaged, full or read-only.
    """
    expect_model(model)
    prompts = texts("prompts", prompts, one="prompt")
    decoding = Decoding(
        max_new_tokens=whole("max_new_tokens", max_new_tokens),
        min_new_tokens=whole("min_new_tokens", min_new_tokens, least=0),
        num_beams=whole("num_beams", num_beams),
        repetition_penalty=number("repetition_penalty", repetition_penalty),
        do_sample=flag("do_sample", do_sample),
        temperature=number("temperature", temperature),
        top_k=whole("top_k", top_k, least=0),
        top_p=number("top_p", top_p, most=1.0),
        seed=None if seed is None else whole("seed", seed, least=None),
    )
    samples, batch_size = whole("samples", samples), whole("batch_size", batch_size)
    _check(decoding, samples)
    model.check_prompts(prompts)
    requests = [ToGenerate(prompt, sample) for prompt in prompts for sample in range(samples)]
    kind = RequestType(
        capability="generate",
        settings=asdict(decoding),
        expect=validation.generated,
        encode=vars,
        decode=lambda value: Decoded(**value),
        compute=lambda missing: _compute(model, missing, decoding, batch_size, watch),
    )
    found = cached.answer(model, kind, requests, batch=batch_size, progress=progress)
    return [
        Generation(request.prompt, answer.text, answer.token_count, answer.finished, request.sample, not new)
        for request, answer, new in zip(requests, found.values, found.is_new, strict=True)
    ]


def _compute(
    model: Model,
    missing: list[ToGenerate],
    decoding: Decoding,
    batch_size: int,
    watch: Callable[[str, str], None] | None,
) -> Iterator[tuple[list[int], list[Decoded]]]:
    if watch is None or not isinstance(model.engine, WatchedEngine):
        return model.engine.generate(missing, decoding, batch_size)

    def seen(position: int, text: str) -> None:
        watch(missing[position].prompt, text)

    return model.engine.generate_watched(missing, decoding, batch_size, seen)


def _check(decoding: Decoding, samples: int) -> None:
    """Refuse inconsistent settings."""
    if decoding.min_new_tokens > decoding.max_new_tokens:
        raise BadInput(
            f"min_new_tokens={decoding.min_new_tokens} is more than max_new_tokens={decoding.max_new_tokens}; raise max_new_tokens"
        )
    sampling = (decoding.temperature, decoding.top_k, decoding.top_p, decoding.seed, samples)
    if not decoding.do_sample and sampling != (1.0, 0, 1.0, None, 1):
        raise BadInput(
            "temperature, top_k, top_p, seed and samples need do_sample=True (on the command line --sample); "
            "greedy decoding has one answer"
        )
    if decoding.do_sample and decoding.seed is None:
        raise BadInput(
            "sampling without a seed cannot be stored or repeated; set a seed, e.g. seed=0 (--seed 0)"
        )
    if decoding.do_sample and decoding.num_beams > 1:
        raise BadInput("sampling with beams is not supported; use num_beams=1 (--beams 1)")
