"""The authors' zero-shot scores: read, annotated with what each model had seen, and filtered.

Accuracies in percent, by rank classification, for 27 models: medians and maxima over five templates with English
(en), machine-translated (mt) and human-translated (ht) prompts, and single-template scores with English prompts for
ten models. data/README.md gives their sources and what is missing. These are aggregates without outcomes per item, so
paired tests are not possible.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import numpy as np
import pandas as pd

from workbench import family, stats
from workbench.errors import UnknownName
from workbench.paths import data_path

CROSSLINGUAL_TASKS = ("xnli", "xcopa", "xstory_cloze", "xwinograd")
_OUTSIDERS = {
    "xglm-7.5B": 7.5e9,
    "T0": 11e9,
    "mtk-instruct-3b-def-pos": 3e9,
    "mtk-instruct-11b-def-pos": 11e9,
}
_ENGLISH_CONFIGS = {"r1", "r2", "r3", "cb", "rte", "copa", "2016", "xl"}


def results(
    *,
    models: str | Iterable[str] | None = None,
    tasks: str | Iterable[str] | None = None,
    languages: str | Iterable[str] | None = None,
    prompt_language: str | Iterable[str] | None = None,
    statistic: str | Iterable[str] | None = None,
    side: str | Iterable[str] | None = None,
) -> pd.DataFrame:
    """Return the published scores that match every filter; None matches all.

    Columns: model, task, config, split, prompt_language, statistic, template, value (accuracy in percent), n_items,
    chance (percent), source, and, from the catalogue: language, seen (in ROOTS and xP3, hence by all of BLOOM
    and BLOOMZ), pretrained (in the pretraining data of this model's side; missing for others), side, parameters
    (nominal for models outside the family), mixture ("none" for pretrained, "other" outside the family).

    Raises:
        UnknownName: a filter value that occurs nowhere; the message lists those that do.
    """
    table = _table()
    filters = {
        "model": models,
        "task": tasks,
        "language": languages,
        "prompt_language": prompt_language,
        "statistic": statistic,
        "side": side,
    }
    for column, wanted in filters.items():
        if wanted is not None:
            table = table[table[column].isin(_known(column, wanted))]
    return table.reset_index(drop=True)


def seen_means(table: pd.DataFrame, by: Sequence[str] = ("model", "task")) -> pd.DataFrame:
    """Average scores over languages, separately for those that BLOOM and xP3 contain and for the others.

    One score per language is expected within `by`. Columns: those of `by`, seen, mean, spread (standard deviation
    over languages, ddof 1), low and high (the worst and the best language), languages (their number); in percentage points.
    """
    groups = table.groupby([*by, "seen"], sort=False)["value"]
    return groups.agg(mean="mean", spread="std", low="min", high="max", languages="size").reset_index()


def template_spreads(table: pd.DataFrame) -> pd.DataFrame:
    """Return the spread over templates of single-template scores, in points, with the spread expected by chance.

    One row per model, task and config. Columns: model, task, config, language, seen, n_items, mean, best, worst, templates,
    spread (best - worst), null and null_high (mean and 95 % point of the spread of as many templates of equal accuracy, each
    asked different items: `stats.binomial_spread`, which explains why the true null is smaller).
    """
    keys = ["model", "task", "config", "language", "seen", "n_items"]
    groups = table.groupby(keys, sort=False)["value"]
    spreads = groups.agg(mean="mean", best="max", worst="min", templates="size").reset_index()
    cells = spreads[["n_items", "mean", "templates"]].itertuples(index=False)
    nulls = [stats.binomial_spread(n, mean / 100, k) for n, mean, k in cells]
    return spreads.assign(
        spread=spreads["best"] - spreads["worst"],
        null=[100 * null.mean for null in nulls],
        null_high=[100 * null.high for null in nulls],
    )


def shared_cells(table: pd.DataFrame) -> pd.DataFrame:
    """Keep the cells of task and config that most models have, and among models those that have all of these.

    A mean over all cells of each model would compare languages: some models were scored in one, others in fifteen.
    """
    models = table.groupby(["task", "config"])["model"].transform("nunique")
    common = table[models == models.max()]
    names = common["task"] + "/" + common["config"]
    whole = names.groupby(common["model"]).transform("nunique") == names.nunique()
    return common[whole].reset_index(drop=True)


def collapses(table: pd.DataFrame | None = None, drop: float = 15) -> pd.DataFrame:
    """Return for each cell of `template_spreads` whether its median hides a template that cannot be told from guessing.

    Columns: those of `template_spreads`, median, chance, floor and reach (the ends of the 95 % interval of guessing, by
    the normal approximation: wide if there are few items), collapses (worst <= reach and median - worst >= `drop` points).
    """
    if table is None:
        table = results(statistic="template")
    cell = ["model", "task", "config"]
    about = table.groupby(cell, observed=True)
    medians = about.agg(median=("value", "median"), chance=("chance", "first")).reset_index()
    cells = template_spreads(table).merge(medians, on=cell, validate="one_to_one")
    share = cells["chance"] / 100
    half = 196 * np.sqrt(share * (1 - share) / cells["n_items"])
    cells = cells.assign(floor=cells["chance"] - half, reach=cells["chance"] + half)
    hidden = (cells["worst"] <= cells["reach"]) & (cells["median"] - cells["worst"] >= drop)
    return cells.assign(collapses=hidden)


def differences(table: pd.DataFrame, reference_of: Mapping[str, str]) -> pd.DataFrame:
    """Subtract from each model's score that of its reference, in the same cell of task, language and prompts.

    Args:
        table: Published scores, from `results`.
        reference_of: Model -> reference, e.g. a finetuned model -> its base.

    Returns:
        The rows of the named models, with the difference in points as `value` and a column `reference`; cells that one of
        the two lacks are left out.
    """
    cell = ["task", "config", "split", "prompt_language", "statistic", "template"]
    ours = table[table["model"].isin(reference_of)]
    ours = ours.assign(reference=ours["model"].map(dict(reference_of)))
    theirs = table[["model", *cell, "value"]].rename(columns={"model": "reference", "value": "subtracted"})
    both = ours.merge(theirs, on=["reference", *cell], validate="many_to_one")
    return both.assign(value=both["value"] - both["subtracted"]).drop(columns="subtracted")


@lru_cache(maxsize=1)
def _table() -> pd.DataFrame:
    text = dict.fromkeys(
        ["model", "task", "config", "prompt_language", "statistic", "template", "source"], "str"
    )
    table = pd.read_csv(data_path("published_results.csv"), dtype=text, keep_default_na=False)
    of_model = {name: _about_model(name) for name in table["model"].unique()}
    side = table["model"].map({name: about[0] for name, about in of_model.items()})
    language = table["config"].map({config: _language_of(config) for config in table["config"].unique()})
    found = {code: family.find_language(code) for code in language.unique()}
    in_roots = language.map({code: lang.roots_percent is not None for code, lang in found.items()})
    in_mc4 = language.map({code: lang.mc4_percent is not None for code, lang in found.items()})
    pretrained = in_roots.where(side == "bloom", in_mc4).astype("boolean").where(side != "other")
    return table.assign(
        language=language,
        seen=in_roots,
        pretrained=pretrained,
        side=side,
        parameters=table["model"].map({name: about[1] for name, about in of_model.items()}),
        mixture=table["model"].map({name: about[2] for name, about in of_model.items()}),
    )


def _about_model(name: str) -> tuple[str, float, str]:
    if name in _OUTSIDERS:
        return "other", _OUTSIDERS[name], "other"
    checkpoint = family.find(name)
    return (
        "mt0" if checkpoint.is_encoder_decoder else "bloom",
        float(checkpoint.parameters),
        checkpoint.mixture,
    )


def _language_of(config: str) -> str:
    return "en" if config in _ENGLISH_CONFIGS else family.find_language(config).code


def _known(column: str, wanted: str | Iterable[str]) -> list[str]:
    asked = [wanted] if isinstance(wanted, str) else list(wanted)
    known = set(_table()[column])
    for value in asked:
        if value not in known:
            raise UnknownName(
                f"no {column} {value!r} in the published scores; they have: {', '.join(sorted(known))}"
            )
    return asked
