"""Prompts to begin with: those of the model cards in their languages, and items of the tasks."""

from collections.abc import Sequence
from dataclasses import dataclass

from workbench.family import family_with_data, fitting_source
from workbench.tasks import Item, make_items, read_data, sources
from workbench.tasks.defaults import fitting

_REVIEW = "一个传奇的开端，一个不灭的神话，这不仅仅是一部电影，而是作为一个走进新时代的标签，永远彪炳史册。"
_WORLD = "is a masterpiece that has achieved praise worldwide and its moral is"
# the widget of the cards of bigscience/bloomz and bigscience/mt0-xxl
CARD_PROMPTS = {
    "review, in Chinese; question in English": f"{_REVIEW}Would you rate the previous review as positive, neutral or negative?",
    "review and question in Chinese": f"{_REVIEW}你认为这句话的立场是赞扬、中立还是批评？",
    "search terms, Vietnamese": 'Suggest at least five related search terms to "Mạng neural nhân tạo".',
    "keywords, French": "Proposez au moins cinq mots clés concernant «Réseau de neurones artificiels».",
    "explanation in Telugu": "Explain in a sentence in Telugu what is backpropagation in neural networks.",
    "question in English": "Why is the sky blue?",
    "fairy tale in Spanish": (
        "Write a fairy tale about a troll saving a princess from a dangerous dragon. "
        f'The fairy tale {_WORLD} "Heroes Come in All Shapes and Sizes". Story (in Spanish):'
    ),
    "fable in Hindi": (
        "Write a fable about wood elves living in a forest that is suddenly invaded by ogres. "
        f'The fable {_WORLD} "Violence is the last refuge of the incompetent". Fable (in Hindi):'
    ),
}

_FIRST = ("what", "lexicon/words")


@dataclass(frozen=True)
class Question:
    """One meaning of a task in its languages: an item for each, in one wording."""

    task: str
    source: str
    template: str
    items: tuple[Item, ...]


def tasks_for(names: Sequence[str]) -> tuple[str, ...]:
    """Return the tasks that need no network and fit these models: those of their family, else of real words and sentences."""
    source = fitting_source(names)
    of = sources()
    return tuple(of.get(source, ())) if family_with_data(source) else (*of["lexicon"], *of["parallel"])


def first_task(names: Sequence[str]) -> str:
    """Return the task that a panel begins with: about single words, which exist in each language."""
    tasks = tasks_for(names)
    return next((name for name in _FIRST if name in tasks), tasks[0])


def languages_for(task: str) -> tuple[str, ...]:
    """Return the languages of a task that ships."""
    return tuple(dict.fromkeys(row["language"] for row in read_data(task).rows))


def templates_for(task: str) -> tuple[str, ...]:
    """Return the wordings of a task: those in English first."""
    found = read_data(task, limit=1)
    ordered = sorted(found.templates, key=lambda one: one.language != found.english)
    return tuple(one.name for one in ordered)


def question(task: str, *, number: int = 0, template: str = "", languages: Sequence[str] = ()) -> Question:
    """Return the meaning with this number (from 0) in all its languages, or in these; by default in the first wording in English.

    Raises:
        UnknownName, BadInput: as `read_data`.
    """
    source = next((name for name, its in sources().items() if task in its), "")
    codes = tuple(languages) or fitting(source).languages or None
    codes = None if family_with_data(source) and not languages else codes
    found = read_data(task, languages=codes, limit=number + 1, shared=True)
    cluster = [*dict.fromkeys(row["cluster"] for row in found.rows)][-1]
    rows = [row for row in found.rows if row["cluster"] == cluster]
    name = template or templates_for(task)[0]
    wording = [one for one in found.templates if one.name == name][:1] or found.templates[:1]
    return Question(task, source, wording[0].name, tuple(make_items(rows, wording)))
