"""Training: pretraining of the bases and multitask finetuning, with one loop for both architectures and any size.

`finetune` turns a model and a mixture into a checkpoint (`checkpoints`); `settings_for` returns the published settings
(`presets`); `train` is the loop (`loop`), over batches of next tokens, hidden spans or prompts (`batches`, `pairs`).
Names are imported on first use, so that a mixture can be read or written without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what a check of types reads
    from workbench.training.batches import (  # noqa: F401
        IGNORED,
        Batch,
        corrupt,
        cut,
        draw_spans,
        loss_of,
        next_token_batch,
        pairs_batch,
    )
    from workbench.training.finetuning import describe, finetune  # noqa: F401
    from workbench.training.loop import Options, Plan, train  # noqa: F401
    from workbench.training.pairs import Batches, Reader  # noqa: F401
    from workbench.training.presets import PRESETS, Settings, settings_for  # noqa: F401

_FILE_OF = {
    "IGNORED": "batches",
    "PRESETS": "presets",
    "Batch": "batches",
    "Batches": "pairs",
    "Options": "loop",
    "Plan": "loop",
    "Reader": "pairs",
    "Settings": "presets",
    "corrupt": "batches",
    "cut": "batches",
    "describe": "finetuning",
    "draw_spans": "batches",
    "finetune": "finetuning",
    "loss_of": "batches",
    "next_token_batch": "batches",
    "pairs_batch": "batches",
    "settings_for": "presets",
    "train": "loop",
}

__all__ = [*_FILE_OF]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name == "mixtures":
        return import_module("workbench.training.mixtures")
    if name not in _FILE_OF:
        raise AttributeError(f"workbench.training has no name {name!r}; it has: {', '.join(_FILE_OF)}")
    return getattr(import_module(f"workbench.training.{_FILE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
