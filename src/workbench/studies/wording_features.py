"""What wordings do (ask before the text, show options, end with a cue, name a language), and the same wording in other formats."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats as distributions

from workbench.errors import BadInput
from workbench.prompts import Template

FEATURES = ("asks first", "shows options", "ends with a cue", "names the language")
_FIELD = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_NO_TEXT = re.compile(r"choice|language|object|name|kind")
_LABEL = re.compile(r"(^|\s)([^\W\d_]+)(\s?[:：])\s*(?=\{\{|[^\W\d_])")


def wording_features(template: Template) -> dict[str, bool]:
    """Return what a wording does, from its text: asks before the text, shows options, ends with a cue, names a language.

    The text that is asked about is taken to be the first field that is not named for an object, a name, a language or a choice.
    """
    prompt = template.jinja.split("|||")[0].strip()
    fields = [found for found in _FIELD.finditer(prompt) if not _NO_TEXT.search(found[0])]
    before, after = (prompt[: fields[0].start()], prompt[fields[0].end() :]) if fields else ("", prompt)
    literal = [
        one.strip() for one in (template.answer_choices or "").split("|||") if "{" not in one and one.strip()
    ]
    return {
        "asks first": _letters(before) > _letters(after),
        "shows options": "choice" in prompt or (bool(literal) and all(one in prompt for one in literal)),
        "ends with a cue": prompt.endswith((":", "：")),
        "names the language": "language" in prompt,
    }


def feature_effects(ranked: pd.DataFrame, templates: Mapping[tuple[str, str], Template]) -> pd.DataFrame:
    """Compare wordings with and without each feature, for each task: the unit is the wording, of which there are few.

    Args:
        templates: The wordings by task and name, as `ranked` calls them.

    Returns:
        One row per task and feature that some wordings have and others lack, at least two of each: task, feature, wordings (that
        have it), with_it, without, effect, low, high (Welch's 95 % interval over wordings).
    """
    features = {key: wording_features(one) for key, one in templates.items()}
    rows = []
    for task, group in ranked.groupby("task", sort=False):
        means = (
            group.assign(correct=group["correct"].astype(float))
            .groupby("template", sort=False)["correct"]
            .mean()
        )
        for feature in FEATURES:
            has = np.array([features[str(task), str(name)][feature] for name in means.index])
            if min(has.sum(), (~has).sum()) >= 2:
                found = distributions.ttest_ind(means[has], means[~has], equal_var=False)
                ends = found.confidence_interval()
                with_it, without = float(means[has].mean()), float(means[~has].mean())
                effect = (with_it - without, float(ends.low), float(ends.high))
                rows.append((task, feature, int(has.sum()), with_it, without, *effect))
    columns = ["task", "feature", "wordings", "with_it", "without", "effect", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def formats(
    template: Template,
    *,
    spaces: Sequence[str] = (" ", "\n", " || "),
    separators: Sequence[str] = (": ", " - ", ":\n"),
    cases: Sequence[str] = ("as is", "lower", "upper"),
) -> list[Template]:
    """Return a labelled wording ("Text: … Answer:") in every format of a small grammar: what is between its parts, after its labels, and their case.

    Only labels are changed, so every format means the same. Source: the grammar of FormatSpread, Sclar et al. 2023 (arXiv:2310.11324).

    Raises:
        BadInput: a wording with fewer than two labels.
    """
    prompt, answer = template.jinja.split("|||", 1)
    if len(_LABEL.findall(f"{prompt} a")) < 2:
        raise BadInput(f"the wording {template.name!r} has no two labels such as 'Text:'; formats vary these")
    found = []
    for number, (space, separator, case) in enumerate(
        (one, other, third) for one in spaces for other in separators for third in cases
    ):

        def written(
            match: re.Match[str], space: str = space, separator: str = separator, case: str = case
        ) -> str:
            label = match[2] if case == "as is" else getattr(match[2], case)()
            return f"{space if match[1] else ''}{label}{separator}"

        text = _LABEL.sub(written, f"{prompt.strip()} a").removesuffix("a").rstrip()
        found.append(
            Template(**{**vars(template), "name": f"format_{number:02}", "jinja": f"{text} |||{answer}"})
        )
    return found


def _letters(text: str) -> int:
    """Count the letters of a wording's own words, without fields and without labels such as "Text:"."""
    return sum(sign.isalpha() for sign in re.sub(r"\w+\s?[:：]", "", _FIELD.sub("", text)))
