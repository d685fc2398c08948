"""Which language a model answers in, and whether the answer is right in the wanted language or in any."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from workbench.errors import BadInput
from workbench.stats import mean_interval
from workbench.studies.answer_language.identifying import NO_LANGUAGE, Identifier, answer_languages
from workbench.tasks.spelling import normal

_COLUMNS = ("cluster", "wanted", "answer")


def right_answers(rows: Iterable[Mapping[str, Any]], field: str = "text") -> dict[str, dict[str, list[str]]]:
    """Return the right answers of parallel rows, by meaning and language: a field, and other forms in `accepted`."""
    found: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        of = found.setdefault(row["cluster"], {}).setdefault(row["language"], [])
        of += [row[field], *row.get("accepted", ())]
    return found


def judge_answers(
    answers: pd.DataFrame,
    right: Mapping[str, Mapping[str, Sequence[str]]],
    candidates: Sequence[str],
    *,
    known: Mapping[str, Iterable[str]] | None = None,
    identifier: Identifier | None = None,
) -> pd.DataFrame:
    """Add to each answer its language, and whether it is right.

    Args:
        answers: Columns cluster (the meaning), wanted (the language asked for) and answer (the text).
        right: Right answers by meaning and language, as from `right_answers`; compared without case, accents and punctuation.
        candidates, known, identifier: As for `answer_languages`; the wanted languages are always candidates.

    Returns:
        The table with produced (a language, "undetermined", "other" or "empty"), by (the step that decided), strict (right in
        the wanted language), lenient (right in any), and in_wanted. An answer that is right in the wanted language is in it,
        also if another language spells it alike.

    Raises:
        BadInput: a missing column, a meaning without right answers in the wanted language; otherwise as `answer_languages`.
    """
    missing = [name for name in _COLUMNS if name not in answers.columns]
    if missing:
        raise BadInput(f"the answers have no column {missing[0]!r}; give {', '.join(_COLUMNS)}")
    among = [*dict.fromkeys([*candidates, *answers["wanted"]])]
    found = answer_languages(answers["answer"], among, known=known, identifier=identifier)
    rows = []
    asked = zip(answers["cluster"], answers["wanted"], answers["answer"], found, strict=True)
    for cluster, wanted, answer, language in asked:
        forms = right.get(cluster, {})
        if not forms.get(wanted):
            raise BadInput(f"no right answer to {cluster!r} in {wanted!r}; give one in right=")
        said = normal(answer)
        matches = {code for code, texts in forms.items() if said in map(normal, texts)}
        strict = wanted in matches
        produced = wanted if strict and wanted in language.among else language.language
        rows.append((produced, language.by, strict, bool(matches), produced == wanted))
    columns = ["produced", "by", "strict", "lenient", "in_wanted"]
    return pd.concat([answers, pd.DataFrame(rows, columns=columns, index=answers.index)], axis=1)


def language_accuracy(judged: pd.DataFrame, by: Sequence[str] = ("wanted",)) -> pd.DataFrame:
    """Return the strict and lenient accuracy and the share of answers in the wanted language, with 95 % intervals over meanings.

    Args:
        judged: As `judge_answers` returns it.
        by: Columns whose values are measured apart ("model", "wanted", …).

    Returns:
        One row per group and measure ("strict", "lenient", "in_wanted"): measure, share, low, high, answers, meanings.
    """
    rows = []
    for key, group in judged.groupby(list(by), sort=False):
        for measure in ("strict", "lenient", "in_wanted"):
            rows.append((*key, measure, *_share(group[measure], group["cluster"])))
    return pd.DataFrame(rows, columns=[*by, "measure", "share", "low", "high", "answers", "meanings"])


def language_matrix(judged: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """Return the share of answers in each produced language for each wanted one, with 95 % intervals over meanings.

    Returns:
        One row per group of `by`, wanted and produced language: share, low, high, answers, meanings; shares of a group and wanted
        language add up to 1. Produced are the wanted languages, then others that occur, then what is no language.
    """
    occurring = sorted(set(judged["produced"]), key=lambda one: (one in NO_LANGUAGE, one))
    order = [*dict.fromkeys([*judged["wanted"], *occurring])]
    keys, rows = [*by, "wanted"], []
    for key, group in judged.groupby(keys, sort=False):
        for produced in order:
            rows.append((*key, produced, *_share(group["produced"] == produced, group["cluster"])))
    return pd.DataFrame(rows, columns=[*keys, "produced", "share", "low", "high", "answers", "meanings"])


def _share(values: "pd.Series[Any]", clusters: "pd.Series[Any]") -> tuple[float, float, float, int, int]:
    found = mean_interval(values.to_numpy(dtype=float), clusters.to_numpy())
    return found.estimate, found.low, found.high, len(values), clusters.nunique()
