"""Prompts without their last mark: ranked as they are, and with the mark left to the model."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from miniatures.check.answers import NO_MARK, questions
from miniatures.questions import RANKED
from workbench.inference.ranking import rank
from workbench.models import Model
from workbench.studies.closing_mark import closing_mark, marginal_scores


def own_mark(model: Model, meanings: int = 12, tasks: Sequence[str] = RANKED) -> pd.DataFrame:
    """Ask seen wordings in the finetuned languages without their last mark, and return which answers are right by each measure.

    Returns:
        One row per prompt: cluster, and right or wrong as `whole` (ranked with the mark), `bare` (ranked without it) and
        `own` (without it, each choice scored by `marginal_scores`: directly or after a mark that the model writes itself).
    """
    asked = questions(meanings, tasks)
    prompts = {one.item.id: one.item.prompt for one in asked if one.kind == "seen"}
    bare = [one.item for one in asked if one.kind == NO_MARK]
    pairs = [(item, choice) for item in bare for choice in item.choices]
    scores = iter(
        marginal_scores(
            model,
            [item.prompt for item, _ in pairs],
            [choice for _, choice in pairs],
            [closing_mark(prompts[item.id]) for item, _ in pairs],
            progress=False,
        )
    )
    own = [int(np.argmax([next(scores) for _ in item.choices])) == item.gold for item in bare]
    whole = [replace(item, prompt=prompts[item.id]) for item in bare]
    right = {
        name: rank(model, items, progress=False)["correct"]
        for name, items in (("whole", whole), ("bare", bare))
    }
    return pd.DataFrame({"cluster": [item.cluster for item in bare], **right, "own": own})
