"""Ask one model the items of a plan. Every finished batch is in the store, so a restart computes only what is missing."""

from collections import Counter

import pandas as pd

from workbench.errors import BadInput, NotReachable
from workbench.inference.ranking import rank
from workbench.models import Model
from workbench.studies.evaluation.asking import compare_pairs, generate_answers
from workbench.studies.evaluation.planning import EvaluationPlan


def evaluate(
    model: Model,
    plan: EvaluationPlan,
    *,
    protocol: str | None = None,
    batch_tokens: int | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Ask one model all items of a plan; `EvaluationSpec.run` does it with several and makes the tables.

    Items with choices are ranked, pairs of texts scored, answers and translations generated.

    Returns:
        The table of `workbench.inference.ranking.rank` (or one with its columns), in the order of the plan, with the columns prompt_language, wordings,
        digest (of the template), shots, dtype and contaminated.

    Raises:
        NotReachable: answers are missing and there are no weights; the message names their languages and templates.
        BadInput, StoreFailed: as `rank`; what was scored stays in the store.
    """
    try:
        table = _asked(model, plan, protocol, batch_tokens, progress)
    except NotReachable as error:
        raise _with_cells(error, model, plan) from error
    digest = {(template.language, template.name): template.digest for template in plan.templates}
    by_name = {template.name: template.digest for template in plan.templates}
    keys = zip(table["language"], table["template"], strict=True)
    return table.assign(
        prompt_language=plan.prompt_language,
        wordings=plan.wordings,
        digest=[digest.get(key, by_name.get(key[1], "")) for key in keys],
        shots=plan.shots,
        dtype=model.precision,
        contaminated=plan.contaminated,
    )


def _asked(
    model: Model, plan: EvaluationPlan, protocol: str | None, batch_tokens: int | None, progress: bool
) -> pd.DataFrame:
    if plan.kind == "rank":
        return rank(model, plan.items, protocol=protocol, batch_tokens=batch_tokens, progress=progress)
    if protocol is not None:
        raise BadInput(
            f"{plan.task!r} is not ranked ({plan.kind}), so the protocol {protocol!r} does not apply; leave it out"
        )
    if plan.kind == "pairs":
        return compare_pairs(model, plan, batch_tokens=batch_tokens, progress=progress)
    return generate_answers(model, plan, progress=progress)


def _with_cells(error: NotReachable, model: Model, plan: EvaluationPlan) -> NotReachable:
    """Return the error with the languages and templates for which answers are missing."""
    missing = set(error.missing)
    asked = [item for item in plan.items if item.prompt in missing]
    if not asked:
        return error
    lost = Counter(f"{item.task} in {item.language}, {item.template!r}" for item in asked)
    cells = "; ".join(f"{cell}: {count}" for cell, count in list(lost.items())[:12])
    more = f"; and {len(lost) - 12} more" if len(lost) > 12 else ""
    return NotReachable(f"no answers of {model.name} to {cells}{more} prompts; {error}", error.missing)
