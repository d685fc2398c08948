"""What the published scores say about transfer: gains by template, and pretraining apart from finetuning.

A gain is BLOOMZ minus the BLOOM that it was finetuned from; no scores of pretrained mT5 were published, so the two sides are
compared by their levels. English is left out unless it is asked for: it is the language of the prompts, and of half of P3's data.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import pandas as pd

from workbench.studies.published import CROSSLINGUAL_TASKS, differences, results
from workbench.studies.within_task import ALL, Gap, gap, language_means

_OVER_TEMPLATES = MappingProxyType({"median": "median of the five", "max": "best of the five"})


def gains_by_template(base_of: Mapping[str, str] | None = None, *, english: bool = False) -> pd.DataFrame:
    """Return the gain over the base by template, and the gain in the median and in the best of the five.

    The best template is chosen for each of the two models, so that a template that the base cannot follow does not count as
    gain; the choice flatters both.

    Args:
        base_of: Finetuned model -> base, both with published scores of single templates; by default BLOOMZ and BLOOM, 176B.

    Returns:
        One row per model, task, template and group of languages. Columns: model, task, template, seen, base, finetuned (accuracy
        in percent, means over languages), gain (points) with low and high (95 % over languages; missing if there is one), share
        (the gain as a fraction of what lies between chance and 100 %), languages (their number).
    """
    keys, table = ["model", "task", "template", "seen"], _accuracies(english)
    pairs = {"bloomz": "bloom"} if base_of is None else dict(base_of)
    tuned = table[table["model"].isin(pairs)].rename(columns={"value": "finetuned"})
    bases = table[["model", "task", "config", "template", "value"]]
    bases = bases.rename(columns={"model": "reference", "value": "base"})
    found = tuned.assign(reference=tuned["model"].map(pairs)).merge(
        bases, on=["reference", "task", "config", "template"], validate="one_to_one"
    )
    found["value"], found["room"] = found["finetuned"] - found["base"], 100 - found["chance"]
    means = found.groupby(keys, sort=False)[["base", "finetuned", "room"]].mean().reset_index()
    gains = language_means(found, keys).rename(columns={"mean": "gain"})
    both = gains.merge(means, on=keys, validate="one_to_one")
    both["share"] = both["gain"] / both["room"]
    both["summary"] = both["template"].isin(list(_OVER_TEMPLATES.values()))
    both = both.sort_values(
        ["model", "task", "seen", "summary"], ascending=[True, True, False, True], kind="stable"
    )
    return both[[*keys, "base", "finetuned", "gain", "low", "high", "share", "languages"]].reset_index(
        drop=True
    )


@dataclass(frozen=True)
class TwoByTwo:
    """Levels of two models in languages that finetuning has and in those it has not, and the differences.

    `levels`: model, task (the last: all, equally weighted), finetuned (whether xP3 has the languages), mean, low, high (95 % over
    languages), languages. `gaps`: what (a model, or their difference), task, gap (languages in xP3 minus the others), low, high,
    languages, degrees. `apart`: the difference of the two gaps, as `workbench.studies.within_task.Gap`.
    """

    levels: pd.DataFrame
    gaps: pd.DataFrame
    apart: Gap


def two_by_two(
    first: str = "bloomz",
    second: str = "mt0-xxl",
    *,
    tasks: Sequence[str] = CROSSLINGUAL_TASKS,
    statistic: str = "median",
) -> TwoByTwo:
    """Separate pretraining from finetuning, by two models of which only the second was pretrained on all languages.

    In a language of xP3 both models had pretraining and finetuning data; in the others BLOOMZ had neither, and mT0 had pretraining.
    So mT0's gap is that of finetuning alone, and the difference of the gaps is what the missing pretraining adds (if the two sides
    would otherwise behave alike). Languages that the second side did not read either, such as Quechua, are left out.

    Args:
        first: A BLOOMZ. second: An mT0.
        statistic: Over the five English templates: "median" or "max".
    """
    table = results(models=[first, second], tasks=tasks, statistic=statistic, prompt_language="en")
    read = table[(table["model"] == second) & table["pretrained"].fillna(False)]["language"].unique()
    table = table[table["language"].isin(read) & (table["language"] != "en")]
    apart = differences(table, {first: second})
    gaps = {name: _gap(table[table["model"] == name]) for name in (first, second)}
    gaps[f"{first} minus {second}"] = _gap(apart)
    told = pd.concat([one.tasks.assign(what=name) for name, one in gaps.items()], ignore_index=True)
    table = table.rename(columns={"seen": "finetuned"})
    by_task = language_means(table.assign(part=table["task"]), ["model", "part", "finetuned"])
    whole = language_means(table.assign(part=ALL), ["model", "part", "finetuned"])
    levels = pd.concat([by_task, whole], ignore_index=True).rename(columns={"part": "task"})
    return TwoByTwo(
        levels.drop(columns=["worst", "best"]),
        told[["what", "task", "first", "second", "gap", "low", "high", "languages", "degrees"]],
        gaps[f"{first} minus {second}"],
    )


def _gap(table: pd.DataFrame) -> Gap:
    return gap(table, group="seen", first=True, second=False)


def _accuracies(english: bool) -> pd.DataFrame:
    """Return scores of single templates, and medians and maxima of them under template names of their own."""
    table = results(tasks=CROSSLINGUAL_TASKS, prompt_language="en")
    table["template"] = table["template"].where(
        table["statistic"] == "template", table["statistic"].map(_OVER_TEMPLATES)
    )
    return table if english else table[table["language"] != "en"]
