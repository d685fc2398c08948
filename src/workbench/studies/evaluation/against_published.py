"""Comparison of measured with published scores, cell by cell, each with a verdict.

The published run asked the same weights the same items with the same templates, so sampling error explains no difference:
either the same number of items is right, or the difference is within the items whose outcome rounding can change
(near-ties), or something in the protocol differs. Published single-template scores exist for ten models and English
prompts; for the others the median and the maximum over the five are compared.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pandas as pd

from workbench import family
from workbench.errors import UnknownName
from workbench.models.engines import DEFAULT, engine_called
from workbench.studies.evaluation.planning import EvaluationPlan
from workbench.studies.published import results

Verdict = Literal["same count", "within near-ties", "differs", "not comparable"]
_COLUMNS = [
    "model", "language", "statistic", "template", "n", "n_published", "right", "published", "difference", "near_ties", "verdict",
    "why",
]  # fmt: skip


def published_precision(name: str) -> str:
    """Return the precision of the published run: float32 for mT0, float16 for BLOOMZ, bfloat16 for the largest.

    Source: bigscience's scripts.
    """
    checkpoint = family.find(name)
    if checkpoint.is_encoder_decoder:
        return "float32"
    return "bfloat16" if checkpoint.parameters > 1e11 else "float16"


def compare_with_published(ranked: pd.DataFrame, plan: EvaluationPlan) -> pd.DataFrame:
    """Compare each model's counts of right items with the published ones.

    Columns: model, language, statistic (template, median or max), template, n, n_published (items), right, published
    (items right), difference (measured - published), near_ties (items whose outcome rounding can change), verdict, why. There
    are no rows for models or tasks without published scores.
    """
    rows: list[dict[str, object]] = []
    for (name, language), part in ranked.groupby(["model", "language"], sort=False):
        scores = _published(str(name), str(language), plan)
        if scores is not None:
            rows += _cells(part, scores, str(name), plan)
    return pd.DataFrame(rows, columns=_COLUMNS)


def _published(name: str, language: str, plan: EvaluationPlan) -> pd.DataFrame | None:
    if plan.benchmark is None or not plan.benchmark.published or plan.prompt_language == "native":
        return None
    task, config = plan.benchmark.published_cell(language)
    try:
        found = results(models=family.find(name).name, tasks=task, prompt_language=plan.prompt_language)
    except UnknownName:
        return None
    found = found[found["config"] == config]
    is_single = found["statistic"] == "template"
    found = found[is_single if is_single.any() and plan.wordings == "published" else ~is_single]
    return found if len(found) else None


def _cells(
    part: pd.DataFrame, scores: pd.DataFrame, name: str, plan: EvaluationPlan
) -> list[dict[str, object]]:
    near = engine_called(DEFAULT).tolerance  # the published scores were computed with transformers
    tolerance = max(near(published_precision(name)), near(str(part["dtype"].iloc[0])))
    groups = {str(template): group for template, group in part.groupby("template", sort=False)}
    ours = {template: _counts(group, tolerance) for template, group in groups.items()}
    n = min(map(len, groups.values()))
    rows: list[dict[str, object]] = []
    for score in scores.to_dict("records"):
        statistic, template, published = score["statistic"], score["template"], score["n_items"]
        count = _our_count(ours, statistic, template)
        if count is None:
            continue
        right, lost, won = count
        there = round(score["value"] * published / 100)
        obstacles = _obstacles(part, plan, n, published, len(ours), statistic)
        verdict = "not comparable" if obstacles else _verdict(right, lost, won, there)
        why = "; ".join(obstacles) or ("; ".join(suspects(part, name)) if verdict == "differs" else "")
        rows.append({
            "model": name, "language": part["language"].iloc[0], "statistic": statistic, "template": template, "n": n,
            "n_published": published, "right": right, "published": there, "difference": right - there,
            "near_ties": lost + won, "verdict": verdict, "why": why,
        })  # fmt: skip
    return rows


def _counts(group: pd.DataFrame, tolerance: float) -> tuple[int, int, int]:
    """Return the number of right items, of those among them that rounding could turn wrong, and of others it could turn right."""
    right = lost = won = 0
    for scores, gold, correct in zip(group["scores"], group["gold"], group["correct"], strict=True):
        others = np.delete(np.asarray(scores, dtype=float), gold)
        lead = float(scores[gold] - others.max())
        right += bool(correct)
        lost += bool(correct) and lead < tolerance
        won += not correct and lead > -tolerance
    return right, lost, won


def _our_count(
    ours: Mapping[str, tuple[int, int, int]], statistic: str, template: str
) -> tuple[int, int, int] | None:
    """Return our count for a published score: of that template, or at the median or maximum of all."""
    if statistic == "template":
        return ours.get(template)
    ranks = sorted(ours.values())
    return ranks[-1] if statistic == "max" else ranks[len(ranks) // 2]


def _verdict(right: int, lost: int, won: int, published: int) -> Verdict:
    if right == published:
        return "same count"
    return "within near-ties" if right - lost <= published <= right + won else "differs"


def _obstacles(
    part: pd.DataFrame, plan: EvaluationPlan, n: int, n_published: int, templates: int, statistic: str
) -> list[str]:
    """Return the reasons for which a comparison with the published number is meaningless."""
    found = []
    if n != n_published:
        found.append(f"{n} of the {n_published} published items")
    if plan.wordings != "published":
        found.append(f"templates are {plan.wordings}, not the published ones")
    if plan.shots:
        found.append(f"{plan.shots} demonstrations; published is zero-shot")
    if not str(part["protocol"].iloc[0]).startswith("xmtf"):
        found.append(f"protocol {part['protocol'].iloc[0]}; published is xmtf")
    if statistic != "template" and templates != 5:
        found.append(f"{templates} of the five templates")
    return found


def suspects(part: pd.DataFrame, name: str) -> list[str]:
    """Return the protocol differences that could explain a difference in counts, most likely first."""
    theirs, ours = published_precision(name), str(part["dtype"].iloc[0])
    found = [f"published in {theirs}, here {ours}"] if theirs != ours else []
    if part["truncated"].any():
        found.append(
            f"{int(part['truncated'].sum())} prompts were truncated; where they are cut depends on the tokenizer's version"
        )
    found.append("another revision of weights, data or templates")
    if theirs != "float32":
        found.append("padding on the left in batches of 8, which moves BLOOM's scores in half precision")
    return found
