"""Checks of the measures on the miniature family, which must hold, and findings, which are only reported.

`predictions` asks all members once; `judge` (checks a to d), `findings` and `compare` work on its table alone, so that
a table of another seed, read with `read_predictions`, is judged in the same way. `probes` is check e, which reads
hidden states. `check` runs all five; `failed` returns the conditions that do not hold.
"""

from pathlib import Path

import pandas as pd

from miniatures.check.answers import predictions, read_predictions
from miniatures.check.checks import COLUMNS, compare, failed, judge
from miniatures.check.reported import by_task, findings
from miniatures.check.unseen_words import probes

__all__ = [
    "COLUMNS",
    "by_task",
    "check",
    "compare",
    "failed",
    "findings",
    "judge",
    "predictions",
    "probes",
    "read_predictions",
]


def check(
    folder: Path | None = None,
    meanings: int | None = None,
    seed: int = 0,
    *,
    predicted: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Check the family in `folder` (by default the one that ships): one row per condition, columns `COLUMNS`.

    `what` ends with the comparison of `value` with `bound` ("at least", "below", …); `low` and `high` are the ends of the
    95 % interval; `needs` says whether the estimate or the whole interval must satisfy it, or whether it is enough that the
    interval does not contradict it; `holds` is true or false, and missing in rows that are only informative.

    Args:
        meanings: Meanings of each task, of 48; a multiple of 12. 24 by default.
        seed: Of the resampling, the baseline's examples, the random weights and the shuffled labels.
        predicted: The result of `predictions` for this folder, if it exists already.

    Raises:
        BadInput: a member that is missing; the message names it.
    """
    table = predictions(folder, meanings, seed=seed) if predicted is None else predicted
    return pd.concat([judge(table, seed), probes(folder, seed)], ignore_index=True)
