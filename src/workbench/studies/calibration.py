"""Scores of choices corrected for what a model prefers whatever is asked: contextual calibration, and PMI given a domain's prompt.

Both subtract what the choices score after a prompt without content: the same wording around "N/A" (Zhao et al. 2021,
arXiv:2102.09690), or a few words that are common to all prompts, such as "Answer:" (Holtzman et al. 2021, arXiv:2104.08315).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from workbench.errors import BadInput
from workbench.inference.ranking import rank
from workbench.models import Model
from workbench.prompts import Template
from workbench.tasks import Item, make_items

NOTHING = ("N/A", "...")  # in place of the text; an empty text would leave a prompt that ends in a space


def content_free(
    rows: Iterable[Mapping[str, Any]],
    templates: Sequence[Template],
    field: str,
    texts: Sequence[str] = NOTHING,
) -> list[list[Item]]:
    """Return the items of rows whose text says nothing, once for each text without content.

    Raises:
        BadInput: a row that lacks the field; otherwise as `make_items`.
    """
    given = list(rows)
    for row in given:
        if field not in row:
            raise BadInput(f"row {row.get('id')!r} has no field {field!r}; it has: {', '.join(row)}")
    return [make_items([{**row, field: text} for row in given], templates) for text in texts]


def after_domain(items: Iterable[Item], domain: str = "Answer:") -> list[list[Item]]:
    """Return the items with nothing but the domain's words as their prompt."""
    return [[replace(item, prompt=domain) for item in items]]


def calibrate(
    model: Model, ranked: pd.DataFrame, neutral: Sequence[Sequence[Item]], **how: Any
) -> pd.DataFrame:
    """Return ranked items with their scores less those after neutral prompts, whose probabilities are averaged.

    Args:
        neutral: Items in the order of `ranked` with neutral prompts, as from `content_free` or `after_domain`.
        how: As for `rank`; the protocol is that of `ranked`.

    Returns:
        `ranked` with the new scores (nats), prediction, correct and margin.

    Raises:
        BadInput: other choices than those of `ranked`.
    """
    priors = []
    for items in neutral:
        if [list(one.choices) for one in items] != ranked["choices"].tolist():
            raise BadInput(
                "neutral items have other choices than the ranked ones; give the same items in the same order"
            )
        protocol = str(ranked["protocol"].iloc[0])
        priors.append(rank(model, items, protocol=protocol, **how)["scores"].tolist())
    rows = []
    for number, (scores, gold) in enumerate(zip(ranked["scores"], ranked["gold"], strict=True)):
        prior = np.logaddexp.reduce([each[number] for each in priors], axis=0) - np.log(len(priors))
        corrected = np.asarray(scores) - prior
        best = int(np.argmax(corrected))
        margin = float(corrected[best] - np.max(np.delete(corrected, best)))
        rows.append((corrected.tolist(), best, best == gold, margin))
    columns = ["scores", "prediction", "correct", "margin"]
    return ranked.assign(**pd.DataFrame(rows, columns=columns, index=ranked.index))
