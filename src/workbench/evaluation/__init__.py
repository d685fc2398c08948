"""A task, its wordings and a model become tables: planned, forecast, ranked, measured, and set beside the published scores."""

from workbench.evaluation.beside import beside_published
from workbench.evaluation.measuring import by_language, by_template, compare
from workbench.evaluation.planning import Forecast, Plan, forecast, make_plan
from workbench.evaluation.running import describe, evaluate
from workbench.evaluation.writing import latex, markdown, rounded, write

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
