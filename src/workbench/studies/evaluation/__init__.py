"""Evaluation of models on a task: planned, ranked, measured, and compared with the published scores."""

from workbench.studies.evaluation.against_published import compare_with_published
from workbench.studies.evaluation.forecast import Forecast, describe, forecast
from workbench.studies.evaluation.measuring import by_language, by_template, compare
from workbench.studies.evaluation.planning import EvaluationPlan, make_plan
from workbench.studies.evaluation.ranking import evaluate
from workbench.studies.evaluation.specs import Evaluation, EvaluationSpec
from workbench.studies.evaluation.writing import latex, markdown, rounded

__all__ = [
    "Evaluation",
    "EvaluationPlan",
    "EvaluationSpec",
    "Forecast",
    "by_language",
    "by_template",
    "compare",
    "compare_with_published",
    "describe",
    "evaluate",
    "forecast",
    "latex",
    "make_plan",
    "markdown",
    "rounded",
]
