"""The miniature world's own texts have no strange words in any language; a miniature warns of all others."""

import warnings

import pytest

from miniatures.questions import TASKS
from miniatures.words import known_words, strange_words
from workbench import load
from workbench.tasks import make_items, read_rows, task_templates


@pytest.mark.parametrize("task", TASKS)
def test_no_prompt_of_the_world_has_a_strange_word_in_any_language(task):
    rows = read_rows(task, limit=3)
    prompts = {item.prompt for item in make_items(rows, task_templates(task))}
    assert {word for prompt in prompts for word in strange_words(prompt)} == set()


@pytest.mark.parametrize(
    ("text", "strange"),
    [
        ("Anna 在花园里有 3 个苹果。", set()),
        ("Anna 在花园里有 3 个大象。", {"个大象"}),
        ("Anna has 42 apples and an elephant.", {"42", "and", "an", "elephant"} - known_words()),
        ("aa", {"aa"}),  # though "a" is known: only Chinese is cut
    ],
)
def test_twin_what_the_world_does_not_have_is_strange(text, strange):
    assert strange_words(text) == strange


def test_a_miniature_warns_of_strange_chinese_words_and_of_no_others():
    handle = load("mini-bloomz")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        handle.check_prompts(["Anna 在花园里有 3 个苹果。谁有苹果？"])
    with pytest.warns(UserWarning, match="unknown: 个大象"):
        handle.check_prompts(["Anna 有 3 个大象。"])
