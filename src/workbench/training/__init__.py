"""Training: pretraining of the bases and multitask finetuning, with one loop for both architectures and any size.

`finetune` turns a model and a mixture into a checkpoint (`checkpoints`); `settings_for` returns the published settings
(`presets`); `train` is the loop (`loop`), over batches of next tokens, hidden spans or prompts (`batches`, `pairs`).
"""

from workbench.training.batches import (
    IGNORED,
    Batch,
    corrupt,
    cut,
    draw_spans,
    loss_of,
    next_token_batch,
    pairs_batch,
)
from workbench.training.finetuning import describe, finetune
from workbench.training.loop import Options, Plan, train
from workbench.training.pairs import Batches, Reader
from workbench.training.presets import PRESETS, Settings, settings_for

__all__ = [
    "IGNORED",
    "PRESETS",
    "Batch",
    "Batches",
    "Options",
    "Plan",
    "Reader",
    "Settings",
    "corrupt",
    "cut",
    "describe",
    "draw_spans",
    "finetune",
    "loss_of",
    "next_token_batch",
    "pairs_batch",
    "settings_for",
    "train",
]
