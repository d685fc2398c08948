"""What goes with transfer: facts about languages beside their gains, tested with as few rows as there are languages.

With 7 to 25 languages a correlation is weak evidence: p-values are exact and corrected for the number of predictors, and each
correlation is shown with the range that it has when one language is left out. Predictors go together (script, genus and share of
data), so none of them is a cause because it is associated.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from workbench import stats
from workbench.errors import BadInput, UnknownName
from workbench.family import find_language, languages
from workbench.stats.permutation import rank_association
from workbench.tasks.exposure import exposures


def language_facts(codes: Sequence[str], finetuned: Sequence[str] = ()) -> pd.DataFrame:
    """Return what the tables say about languages, as numbers that can predict.

    Args:
        codes: Of `data/languages.csv`; others have no facts but their script.
        finetuned: Codes of the languages of the finetuning, which `related` compares with; by default those of xP3.

    Returns:
        One row per language: language; latin (1 if it is mostly written in Latin script, else 0); related (1 if its genus is that
        of another language of the finetuning, else 0); roots, mc4 and xp3 (logarithms of its shares of the corpora, to
        base 10). What is not known is missing.
    """
    known = {one.code: one for one in exposures(codes)}
    rows = []
    for code, one in known.items():
        shares = {
            "roots": one.pretraining["bloom"],
            "mc4": one.pretraining["mt5"],
            "xp3": one.finetuning,
        }
        logs = {name: float(np.log10(share)) if share else np.nan for name, share in shares.items()}
        latin = float(one.script == "Latn") if one.script else np.nan
        rows.append({"language": code, "latin": latin, "related": _related(code, finetuned), **logs})
    return pd.DataFrame(rows)


def within_task_outcome(
    table: pd.DataFrame, *, value: str = "value", task: str = "task", group: str | None = None
) -> "pd.Series[float]":
    """Return a number per language: the mean over its tasks of the value minus the task's mean over languages.

    With `group`, the mean is that of the languages of one's own group, so that groups are compared with nothing.
    """
    keys = [task] if group is None else [task, group]
    centred = table[value] - table.groupby(keys)[value].transform("mean")
    return centred.groupby(table["language"]).mean()


def predict(
    outcome: "pd.Series[float]",
    facts: pd.DataFrame,
    predictors: Sequence[str],
    *,
    arrangements: int = 50_000,
    seed: int = 0,
) -> pd.DataFrame:
    """Test each predictor of an outcome, over the languages for which both are known.

    Args:
        outcome: A number per language code.
        facts: A column `language` and one per predictor.
        predictors: Columns of `facts`.

    Returns:
        Columns: predictor, languages (number), correlation (Spearman), p_value (exact permutation test, two-sided), p_holm (corrected
        for the predictors that could be tested), exact, lowest, highest (correlation with one language left out), without (the one
        that matters most). A predictor without variation, or with fewer than four languages, has no test.

    Raises:
        BadInput: a predictor that is not a column.
    """
    rows = []
    for name in predictors:
        if name not in facts:
            raise BadInput(f"no predictor {name!r}; the table has: {', '.join(map(str, facts.columns))}")
        both = facts[["language", name]].assign(told=facts["language"].map(outcome)).dropna()
        row: dict[str, object] = {"predictor": name, "languages": len(both)}
        if len(both) >= 4 and both[name].nunique() > 1 and both["told"].nunique() > 1:
            found = rank_association(
                both[name], both["told"], list(both["language"]), arrangements=arrangements, seed=seed
            )
            row |= vars(found)
        rows.append(row)
    columns = ["languages", "correlation", "p_value", "p_holm", "exact", "lowest", "highest", "without"]
    table = pd.DataFrame(rows, columns=["predictor", *columns])
    tested = table["p_value"].notna()
    table.loc[tested, "p_holm"] = stats.holm(table.loc[tested, "p_value"].astype(float))
    return table


def parity(lengths: Mapping[str, Sequence[int]], pivot: str) -> "pd.Series[float]":
    """Return the number of tokens of parallel texts in each language, divided by that in the pivot.

    Args:
        lengths: Language -> tokens per text, the same texts in all.

    Raises:
        BadInput: no pivot, or different numbers of texts.
    """
    sizes = {len(counts) for counts in lengths.values()}
    if pivot not in lengths or len(sizes) != 1:
        raise BadInput(
            f"parity needs the same texts in every language, with the pivot {pivot!r}; got {sizes}"
        )
    return pd.Series(
        {code: float(np.sum(counts) / np.sum(lengths[pivot])) for code, counts in lengths.items()}
    )


def _related(code: str, finetuned: Sequence[str]) -> float:
    others = finetuned or [one.code for one in languages() if one.xp3_percent is not None]
    own = _genus(code)
    return np.nan if own is None else float(own in {_genus(one) for one in others if one != code})


def _genus(code: str) -> str | None:
    try:
        return find_language(code).genus
    except UnknownName:
        return None
