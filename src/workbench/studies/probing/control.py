"""Control tasks: the labels of a question, given to the wrong words.

A control keeps all that is not the question: the number of classes, how often each occurs, the unit to which a label
belongs, texts and splits. What a probe scores on it was memorised or leaked. Source: Hewitt & Liang 2019, D19-1275.
"""

from collections.abc import Hashable, Sequence

import numpy as np
import pandas as pd

from workbench.errors import BadInput


def shuffled_labels(
    labels: Sequence[Hashable],
    units: Sequence[Hashable],
    *,
    within: Sequence[Hashable] | None = None,
    seed: int = 0,
) -> list[Hashable]:
    """Permute labels among units, so that every text of a unit gets the label of another.

    Args:
        labels: N labels, one and the same for all texts of a unit.
        units: The unit of each text: the word for a label of words; a word in a language for the label "language".
        within: Units exchange labels only within one value of this, e.g. the word, so that each of a word's languages is called
            by the name of another.

    Raises:
        BadInput: lists of different lengths, or a unit with two labels.
    """
    within = [0] * len(labels) if within is None else within
    table = pd.DataFrame({"unit": pd.factorize(np.array([repr(unit) for unit in units]))[0]})
    if not len(labels) == len(table) == len(within):
        raise BadInput(
            f"{len(labels)} labels came with {len(table)} units and {len(within)} groups; give one of each per text"
        )
    classes = pd.factorize(np.array([repr(label) for label in labels]))[0]
    table["label"], table["within"] = classes, pd.factorize(np.array([repr(one) for one in within]))[0]
    of_unit = table.drop_duplicates("unit").set_index("unit")
    if len(table.drop_duplicates(["unit", "label", "within"])) > len(of_unit):
        raise BadInput("a unit has two labels, or is in two groups; labels are exchanged between whole units")
    generator = np.random.default_rng(seed)
    drawn = of_unit.groupby("within")["label"].transform(lambda own: generator.permutation(own.to_numpy()))
    first = dict(zip(classes, labels, strict=True))
    return [first[drawn[unit]] for unit in table["unit"]]
