"""The measures that the notebooks report, computed on tidy tables; import each module by name."""

from importlib import import_module
from typing import Any

_STUDIES = frozenset(
    {
        "answer_language",
        "border_effects",
        "calibration",
        "closing_mark",
        "consistency",
        "evaluation",
        "first_token",
        "interpretability",
        "predictors",
        "probing",
        "published",
        "published_transfer",
        "quantization",
        "scorers",
        "sensitivity",
        "transfer",
        "within_task",
        "wording_choice",
        "wording_features",
        "wording_variance",
    }
)


def __getattr__(name: str) -> Any:
    if name in _STUDIES:
        return import_module(f"workbench.studies.{name}")
    raise AttributeError(f"workbench.studies has no {name!r}; it has: {', '.join(sorted(_STUDIES))}")
