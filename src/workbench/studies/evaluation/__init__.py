"""Evaluation of a model on a task: planned, forecast, ranked, measured, and compared with the published scores."""

from workbench.studies.evaluation.beside import beside_published
from workbench.studies.evaluation.measuring import by_language, by_template, compare
from workbench.studies.evaluation.planning import Forecast, Plan, forecast, make_plan
from workbench.studies.evaluation.running import describe, evaluate
from workbench.studies.evaluation.writing import latex, markdown, rounded, write

__all__ = [
    "Forecast",
    "Plan",
    "beside_published",
    "by_language",
    "by_template",
    "compare",
    "describe",
    "evaluate",
    "forecast",
    "latex",
    "make_plan",
    "markdown",
    "rounded",
    "write",
]
