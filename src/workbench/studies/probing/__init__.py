"""What hidden states encode, layer by layer, each measure beside its control.

Which meaning is read from words that a probe has not seen (`held_out_words`), how many bits a label costs
(`code_lengths`), where translations meet (`retrieval`), how alike languages lie (`alignment`).
"""

from workbench.studies.probing.cka import alignment, cka
from workbench.studies.probing.code_length import code_lengths, mean_bits, online_bits
from workbench.studies.probing.control import shuffled_labels
from workbench.studies.probing.examples import Examples, centred, split_groups
from workbench.studies.probing.held_out import HeldOut, held_out_words
from workbench.studies.probing.retrieval import retrieval
from workbench.studies.probing.summaries import best_layers, by_layer
from workbench.studies.probing.unseen_words import (
    WordExamples,
    shuffle_control,
    unseen_word_accuracy,
    word_examples,
)

__all__ = [
    "Examples",
    "HeldOut",
    "WordExamples",
    "alignment",
    "best_layers",
    "by_layer",
    "centred",
    "cka",
    "code_lengths",
    "held_out_words",
    "mean_bits",
    "online_bits",
    "retrieval",
    "shuffle_control",
    "shuffled_labels",
    "split_groups",
    "unseen_word_accuracy",
    "word_examples",
]
