"""Asks a model the items of a plan that are not ranked: pairs of texts are scored, answers and translations are generated."""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any

import pandas as pd

from workbench.inference.generation import generate
from workbench.inference.scoring import score
from workbench.models import Model
from workbench.studies.evaluation.planning import EvaluationPlan
from workbench.tasks import match_answer
from workbench.tasks.spelling import normal

# Lao, Thai, Burmese, Khmer, kana and Han are written without spaces: each sign counts as a word
_WORD = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]|[^\s\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]+"
)


def compare_pairs(
    model: Model, plan: EvaluationPlan, *, batch_tokens: int | None = None, progress: bool = True
) -> pd.DataFrame:
    """Score both texts of every pair as they are (`score`); the right one must have the higher log-probability, in nats.

    A decoder gives no score to a text's first token, unless its tokenizer puts a special token before it: a pair that differs
    there is decided by the rest. Equal scores are wrong. Columns: those of `rank`.

    Raises:
        BadInput, NotReachable, StoreFailed: as `score`.
    """
    texts = [text for item in plan.items for text in item.choices]
    found = score(model, texts, batch_tokens=batch_tokens, progress=progress)
    sums = [math.fsum(one for one in each.logprobs if one is not None) for each in found]
    rows = []
    for number, item in enumerate(plan.items):
        scores, answers = sums[2 * number : 2 * number + 2], found[2 * number : 2 * number + 2]
        margin = abs(scores[0] - scores[1])
        rows.append(
            {
                **_about(item), "choices": list(item.choices), "gold": 0, "prediction": int(scores[1] >= scores[0]),
                "correct": scores[0] > scores[1], "margin": margin, "tie": margin < model.tolerance, "scores": scores,
                "tokens": [len(answer.tokens) for answer in answers], "truncated": False,
            }
        )  # fmt: skip
    return pd.DataFrame(rows).assign(protocol="sum of both texts", model=model.name)


def generate_answers(model: Model, plan: EvaluationPlan, *, progress: bool = True) -> pd.DataFrame:
    """Generate an answer to every prompt, greedily, and compare its first line with the right texts.

    Columns: those of `rank`, where `prediction` is the answer, `correct` the measure (`EvaluationPlan.measure`), and `truncated` says that
    the answer reached the limit of tokens; further `target`, `measure` and, of answers, `exact` and `f1`.

    Raises:
        BadInput, NotReachable, StoreFailed: as `generate`.
    """
    assert plan.benchmark is not None  # only tasks of the table are generated
    longest, judge = plan.benchmark.longest, _JUDGES[plan.kind]
    found = generate(model, [item.prompt for item in plan.items], max_new_tokens=longest, progress=progress)
    rows = []
    for item, answer in zip(plan.items, found, strict=True):
        text = answer.text.strip().partition("\n")[0].strip()
        accepted = plan.accepted.get((item.cluster, item.language), (item.target,))
        rows.append(
            {
                **_about(item), "choices": [], "gold": None, "prediction": text, "margin": math.nan, "tie": False, "scores": [],
                "tokens": [answer.token_count], "truncated": not answer.finished, "target": item.target, **judge(text, accepted),
            }
        )  # fmt: skip
    return pd.DataFrame(rows).assign(
        protocol=f"greedy, at most {longest} tokens", model=model.name, measure=plan.measure
    )


def overlap(answer: str, accepted: Iterable[str]) -> float:
    """Return the best F1 of an answer's words with those of a right text, both normalised; 0 to 1.

    As in SQuAD's evaluation, but articles count, accents do not, and in scripts without spaces each sign is a word.
    """
    return max(_f1(_words(answer), _words(text)) for text in accepted)


def chrf(answer: str, accepted: Iterable[str]) -> float:
    """Return the chrF of a translation, 0 to 1, from sacrebleu with its defaults (characters of up to 6, no words, beta 2)."""
    return float(_chrf().sentence_score(answer, list(accepted)).score) / 100


def _chrf() -> Any:
    return import_module("sacrebleu.metrics.chrf").CHRF()  # when first needed: it takes a quarter of a second


def _about(item: Any) -> dict[str, Any]:
    return {name: getattr(item, name) for name in ("id", "task", "template", "language", "cluster", "prompt")}


def _matched(answer: str, accepted: tuple[str, ...]) -> dict[str, Any]:
    match = match_answer(answer, accepted)
    return {"correct": match != "no", "exact": match == "exact", "f1": overlap(answer, accepted)}


def _translated(answer: str, accepted: tuple[str, ...]) -> dict[str, Any]:
    return {"correct": chrf(answer, accepted)}


_JUDGES: Mapping[str, Callable[[str, tuple[str, ...]], dict[str, Any]]] = MappingProxyType(
    {"answers": _matched, "translation": _translated}
)


def _words(text: str) -> Counter[str]:
    return Counter(_WORD.findall(normal(text)))


def _f1(answer: Counter[str], right: Counter[str]) -> float:
    common = (answer & right).total()
    return 2 * common / (answer.total() + right.total()) if common else 0.0
