"""Linear probes of hidden states with controls: what each layer encodes, and what can be read from unseen words."""

from workbench.studies.probing.probes import (
    Examples,
    best_layers,
    by_layer,
    control_labels,
    majority,
    probe,
    retrieval,
)
from workbench.studies.probing.unseen_words import (
    WordExamples,
    shuffle_control,
    unseen_word_accuracy,
    word_examples,
)

__all__ = [
    "Examples",
    "WordExamples",
    "best_layers",
    "by_layer",
    "control_labels",
    "majority",
    "probe",
    "retrieval",
    "shuffle_control",
    "unseen_word_accuracy",
    "word_examples",
]
