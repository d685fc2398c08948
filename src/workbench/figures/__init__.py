"""Figures of tidy tables in one style, each with a badge that states its provenance. Nothing is computed here."""

from workbench.figures.charts import curves, heatmap, intervals
from workbench.figures.evaluation import draw_evaluation
from workbench.figures.labels import short_names
from workbench.figures.showing import BADGES, Badge, badge_for, save, show

__all__ = [
    "BADGES",
    "Badge",
    "badge_for",
    "curves",
    "draw_evaluation",
    "heatmap",
    "intervals",
    "save",
    "short_names",
    "show",
]
