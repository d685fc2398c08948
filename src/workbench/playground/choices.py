"""Rank: choices as bars, in nats and as shares, under a protocol."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from workbench.inference.ranking import rank
from workbench.models import Model
from workbench.playground.opening import opened, warning_about
from workbench.playground.page import (
    Html,
    Show,
    card,
    cards,
    meter,
    nats,
    note,
    page,
    percent,
    table,
    tag,
    text_of,
)
from workbench.tasks import Item

PROTOCOLS = ("xmtf", "per-token", "pmi", "lm-eval")


def ranked(
    models: Sequence[str | Model],
    prompt: str,
    choices: Sequence[str],
    *,
    protocol: str = "xmtf",
    show: Show | None = None,
) -> tuple[Html, list[dict[str, Any]]]:
    """Return the choices with their scores by model, as HTML and as rows of `rank`; `show` gets the page after each model.

    Raises:
        WorkbenchError: as `rank` and `opened`.
    """
    item = Item("prompt", prompt, tuple(choices))
    rows: list[dict[str, Any]] = []
    found = []
    for model in opened(models):
        (row,) = rank(model, [item], protocol=protocol, progress=False).to_dict("records")
        rows.append({str(key): value for key, value in row.items()})
        found.append(_card(model, rows[-1], warning_about(model, prompt)))
        if show:
            show(page(cards(found), label="Choices"))
    return page(cards(found), label="Choices"), rows


def _card(model: Model, row: dict[str, Any], warning: str) -> Html:
    scores = np.array(row["scores"])
    shares = np.exp(scores - np.logaddexp.reduce(scores))
    order = np.argsort(-scores, kind="stable")
    rows = [
        (
            tag("td", text_of(row["choices"][at]), class_="wb-best" if at == row["prediction"] else None),
            meter(float(shares[at]), percent(float(shares[at])), row["choices"][at]),
            tag("td", nats(float(scores[at])), class_="wb-number"),
            tag("td", str(row["tokens"][at]), class_="wb-number"),
        )
        for at in order
    ]
    told = (
        f"margin {row['margin']:.2f} nats"
        + ("; a tie: closer than rounding" if row["tie"] else "")
        + f"; {row['protocol']}"
    )
    body = table(
        ("choice", "share of the choices", "nats", "tokens"),
        rows,
        caption="Scores of the choices, best first",
    )
    return card(model, body, note(told), warning=warning)
