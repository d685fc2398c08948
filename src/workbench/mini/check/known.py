"""The conditions that the shipped members are known not to meet: `data/mini/misses.csv`, beside their weights.

They are shown as failures wherever checks are shown. A check run on the shipped weights is in order when exactly these
fail: a new failure means that an instrument broke, a miss that now holds that the list is out of date.
"""

import pandas as pd

from workbench.mini.check.checks import failed
from workbench.records import data_path

KEYS = ["check", "side", "what"]


def known_misses() -> pd.DataFrame:
    """Read the list: columns check, side, what."""
    return pd.read_csv(data_path("mini/misses.csv"))


def surprises(checks: pd.DataFrame, known: pd.DataFrame | None = None) -> pd.DataFrame:
    """Give the conditions whose outcome is not the known one, with a column `surprise` ("fails" or "holds now")."""
    listed = (known_misses() if known is None else known)[KEYS]
    both = failed(checks)[KEYS].merge(listed, how="outer", on=KEYS, indicator="surprise")
    both["surprise"] = both["surprise"].map({"left_only": "fails", "right_only": "holds now"})
    return both.dropna(subset="surprise").reset_index(drop=True)
