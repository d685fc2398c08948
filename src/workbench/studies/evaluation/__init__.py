"""A task, its wordings and a model become tables: planned, forecast, ranked, measured, and set beside the published scores."""

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
