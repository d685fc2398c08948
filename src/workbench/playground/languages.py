"""Across languages: one question in many languages, the answer, its language, and whether it is right."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from workbench.errors import BadInput
from workbench.inference.generation import generate
from workbench.inference.ranking import rank
from workbench.models import Model
from workbench.playground.examples import Question
from workbench.playground.opening import opened
from workbench.playground.page import Html, Show, card, note, page, percent, table, tag, text_of
from workbench.playground.settings import Settings
from workbench.studies.answer_language import answer_languages, known_texts
from workbench.studies.answer_language.identifying import Identifier
from workbench.tasks import Item, match_answer, read_texts, seen_in_finetuning

_SCALE = 0.55  # opacity of a certain answer


@dataclass(frozen=True)
class Answered:
    """An answer in one language: its text, the language it is in, whether it is right, and the probability of the right choice among the
    choices (None without choices)."""

    language: str
    answer: str
    produced: str
    is_right: bool
    share: float | None


def across_page(
    models: Sequence[str | Model],
    asked: Question,
    *,
    settings: Settings | None = None,
    show: Show | None = None,
) -> tuple[Html, dict[str, list[Answered]]]:
    """Return every model's answers in all languages of a question; `show` gets the page after each language.

    Raises:
        BadInput: a question in fewer than two languages; otherwise as `generate`, `rank` and `opened`.
    """
    if len(asked.items) < 2:
        raise BadInput(f"the question is in {len(asked.items)} language(s); choose at least two")
    handles, how = opened(models), settings or Settings(max_new_tokens=12)
    known = _known(asked)
    found: dict[str, list[Answered]] = {model.label: [] for model in handles}
    for item in asked.items:
        for model in handles:
            found[model.label].append(_answered(model, item, known, how))
        if show:
            show(_page(handles, asked, found))
    return _page(handles, asked, found), found


def _known(asked: Question) -> dict[str, list[str]]:
    """Return known texts by language, which tell the language of a short answer: those of the source, and the choices."""
    codes = [item.language for item in asked.items]
    rows = read_texts(asked.source or "parallel", languages=None).rows
    texts = known_texts([row for row in rows if row["language"] in codes])
    for item in asked.items:
        texts.setdefault(item.language, []).extend([item.target, *item.choices])
    return texts


def _answered(model: Model, item: Item, known: dict[str, list[str]], settings: Settings) -> Answered:
    (one,) = generate(model, [item.prompt], progress=False, **settings.options)
    lingua: Identifier | None = "lingua" if find_spec("lingua") and not _is_artificial(known) else None
    (language,) = answer_languages([one.text], [*known], known=known, identifier=lingua)
    produced = language.language
    if produced == "undetermined":
        shared = len(language.among) > 2 or not language.among
        produced = "several" if shared else " or ".join(language.among)
    right = match_answer(one.text.strip().rstrip(".。"), [item.target]) != "no"
    return Answered(item.language, one.text, produced, right, _share(model, item))


def _is_artificial(known: dict[str, list[str]]) -> bool:
    return any("-" in code for code in known)


def _share(model: Model, item: Item) -> float | None:
    if item.gold is None:
        return None
    (scores,) = rank(model, [item], progress=False)["scores"]
    return float(np.exp(scores[item.gold] - np.logaddexp.reduce(scores)))


def _page(models: Sequence[Model], asked: Question, found: dict[str, list[Answered]]) -> Html:
    first = asked.items[0]
    about = tag("p", f"{asked.task}, wording “{asked.template}”, in {len(asked.items)} languages. In {first.language}: ", text_of(first.prompt), class_="wb-note")  # fmt: skip
    return page(
        about, *(_card(model, found[model.label], asked) for model in models), label="Across languages"
    )


def _card(model: Model, found: Sequence[Answered], asked: Question) -> Html:
    targets = {item.language: item.target for item in asked.items}
    rows = [_row(model, one, targets[one.language]) for one in found]
    right = sum(one.is_right for one in found)
    head = (
        "language",
        "in the multilingual mixture",
        "answer",
        "right answer",
        "answered in",
        "verdict",
        "P(right choice)",
    )
    body = table(head, rows, caption=f"{right} of {len(found)} answers are right as text")
    strip = _strip(found)
    return card(model, strip, body, note(_LEGEND))


_LEGEND = "The colour is the probability of the right choice among the choices; where there are none, whether the text is right."


def _strip(found: Sequence[Answered]) -> Html:
    """Return the heat map: a row of all languages."""
    cells = [
        tag(
            "td",
            tag("strong", one.language),
            " ",
            _mark(one),
            style=_colour(one),
            class_="wb-heat",
            title=_shown(one),
        )
        for one in found
    ]
    row = tag("tr", *cells)
    return tag("div", tag("table", tag("tbody", row), class_="wb-table", aria_label="Heat map of the languages"), class_="wb-scroll", tabindex="0", role="group", aria_label="Heat map of the languages")  # fmt: skip


def _row(model: Model, one: Answered, target: str) -> list[str]:
    name = tag("th", one.language, scope="row")
    trained = "yes" if seen_in_finetuning(one.language, model.name) else "no"
    verdict = tag("td", f"{_mark(one)} {'right' if one.is_right else 'not right'}")
    share = tag("td", _shown(one), class_="wb-number", style=_colour(one))
    return [
        name,
        trained,
        text_of(one.answer),
        text_of(target),
        one.produced,
        verdict,
        share,
    ]


def _mark(one: Answered) -> str:
    return "✓" if one.is_right else "✗"


def _shown(one: Answered) -> str:
    return "" if one.share is None else percent(one.share)


def _colour(one: Answered) -> str:
    """Return blue for right and orange for wrong, the stronger the surer; none in the middle."""
    share = float(one.is_right) if one.share is None else one.share
    base = "0 114 178" if share >= 0.5 else "213 94 0"
    return f"background:rgb({base} / {_SCALE * abs(2 * share - 1):.2f})"
