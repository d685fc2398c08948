"""The operations that no way of computing the scores can leave out: each prompt read once, each choice's own tokens after it.

Divided by the rate of one large multiplication they give the floor of a row, in seconds. What lm-evaluation-harness computes, without
its padding, is counted the same way: the ratio says how far ahead of it anybody can be who multiplies at the same rate.
"""

from collections.abc import Mapping, Sequence

from benchmarks.checkpoints import SIZES
from benchmarks.questions import Question, questions

Size = Mapping[str, int]


def operations(side: str, size: str, shape: str, count: int) -> float:
    """Multiplications and additions of the questions of a shape, for one of the sizes of `benchmarks.checkpoints`."""
    needed = {"bloom": _bloom, "mt5": _mt5}[side]
    return sum(needed(SIZES[size], *_lengths(question)) for question in questions(shape, count))


def by_lm_eval(side: str, size: str, shape: str, count: int) -> float:
    """The same of lm-evaluation-harness: a sequence for each choice, the head at each of its positions.

    A decoder's choices of one token are read from one sequence.
    """
    return sum(_by_lm_eval(side, SIZES[size], *_lengths(question)) for question in questions(shape, count))


def _by_lm_eval(side: str, size: Size, prompt: int, texts: Sequence[int]) -> float:
    if side == "mt5":
        return sum(_mt5(size, prompt, [text]) for text in texts)
    alone = [texts[0]] if max(texts) == 1 else texts
    unread = 2 * size["hidden_size"] * size["vocab_size"] * (prompt - 1)  # the head at the prompt's positions
    return sum(_bloom(size, prompt, [text]) + unread for text in alone)


def _bloom(size: Size, prompt: int, texts: Sequence[int]) -> float:
    layers, width = size["n_layer"], size["hidden_size"]
    more = sum(text - 1 for text in texts)  # a choice's last token is predicted, not read
    blocks = (prompt + more) * 24 * layers * width**2
    pairs = _triangle(prompt) + sum(_triangle(prompt + text - 1) - _triangle(prompt) for text in texts)
    return blocks + pairs * 4 * layers * width + (1 + more) * 2 * width * size["vocab_size"]


def _mt5(size: Size, prompt: int, texts: Sequence[int]) -> float:
    width, inner, wide = size["d_model"], size["num_heads"] * size["d_kv"], size["d_ff"]
    source, read = prompt + 1, 1 + sum(text - 1 for text in texts)  # the end token; the start token once
    matrices = 8 * width * inner + 6 * width * wide  # query, key, value, output; the gated layer's three
    encoder = source * matrices + 4 * inner * source**2
    crossing = source * 4 * width * inner + read * (4 * width * inner + 4 * inner * source)
    pairs = 1 + sum(_triangle(text) - 1 for text in texts)
    decoder = read * matrices + crossing + 4 * inner * pairs
    return size["num_layers"] * (encoder + decoder) + read * 2 * width * size["vocab_size"]


def _lengths(question: Question) -> tuple[int, Sequence[int]]:
    return len(question.prompt.split()), [len(choice.split()) for choice in question.choices]


def _triangle(length: int) -> float:
    return length * (length + 1) / 2
