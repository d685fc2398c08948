"""Study crosslingual generalization with BLOOMZ and mT0.

The names below are imported from their modules on first use, so that `import workbench` is cheap: it loads neither torch
nor pandas and has no side effects. The README lists the modules and their purposes.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_ROOMS = frozenset(
    {
        "atomic",
        "errors",
        "family",
        "figures",
        "grading",
        "inference",
        "models",
        "paths",
        "playground",
        "prompts",
        "run_log",
        "runs",
        "service",
        "stats",
        "store",
        "studies",
        "tasks",
        "training",
    }
)
_ROOM_OF = {
    "load": "models",
    "generate": "inference.generation",
    "alternatives": "inference.alternatives",
    "rank": "inference.ranking",
    "score": "inference.scoring",
    "hidden_states": "inference.states",
    "token_states": "inference.token_states",
    "Intervention": "models.interventions",
    "Item": "tasks",
    "record": "run_log",
    "audit": "stats.audit",
}

__all__ = ["__version__", *_ROOM_OF]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name in _ROOM_OF:
        return getattr(import_module(f"workbench.{_ROOM_OF[name]}"), name)
    if name in _ROOMS:
        return import_module(f"workbench.{name}")
    raise AttributeError(f"workbench has no name {name!r}; it has: {', '.join(sorted(__all__))}")


def __dir__() -> list[str]:
    return sorted(__all__)
