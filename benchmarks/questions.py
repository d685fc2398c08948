"""What is asked: the shapes (a), (b), (c) of rank classification, and prompts with answers of mixed lengths."""

import random
from dataclasses import dataclass

from benchmarks.checkpoints import END_OF_WALK, WORDS

SHAPES = {
    "a": "3 labels of 2 to 4 tokens after a prompt of ~100",
    "b": "3 labels of 1 token after a prompt of ~100",
    "c": "2 sentences of ~12 words (12 to 18 tokens) after a prompt of ~100",
}


LONGEST_ANSWER = {"bloom": 32, "mt5": 16}  # tokens; all answers of the random mT5 are as long


@dataclass(frozen=True)
class Question:
    """A prompt and its choices."""

    prompt: str
    choices: tuple[str, ...]


def questions(shape: str, count: int, seed: int = 0) -> list[Question]:
    """As many questions of a shape; labels are the same for all prompts, sentences are each prompt's own."""
    dice = random.Random(f"{shape} {seed}")
    labels = {"a": [_words(dice, n) for n in (2, 3, 4)], "b": [_words(dice, 1) for _ in range(3)]}
    found = []
    for _ in range(count):
        prompt = _words(dice, dice.randint(80, 120))
        choices = labels.get(shape) or [_words(dice, dice.randint(12, 18)) for _ in range(2)]
        found.append(Question(prompt, tuple(choices)))
    return found


def prompts(count: int, side: str, seed: int = 0) -> list[str]:
    """Prompts of 8 to 120 words; the answers of a decoder with a walking head have 7 tokens on average.

    Lengths fall off as those of a process that may end at every step, like short answers beside a few long ones.
    """
    dice = random.Random(seed)
    found = []
    for _ in range(count):
        length = min(1 + int(dice.expovariate(1 / 6.5)), LONGEST_ANSWER[side])
        last = f"w{END_OF_WALK - 4 - length - 1}"  # four special tokens stand before w0
        found.append(f"{_words(dice, dice.randint(8, 120))} {last}")
    return found


def _words(dice: random.Random, count: int) -> str:
    return " ".join(f"w{dice.randrange(2000, WORDS)}" for _ in range(count))
