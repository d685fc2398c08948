"""Words in scripts with spaces and without: the world's own texts have no strange words, and units lose nothing."""

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniatures.questions import TASKS
from workbench import load
from workbench.tasks import make_items, read_rows, task_templates
from workbench.words import cut_run, known_words, strange_words, units


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
        handle.warn_of_strange_words(["Anna 在花园里有 3 个苹果。谁有苹果？"])
    with pytest.warns(UserWarning, match="not in it: 个大象"):
        handle.warn_of_strange_words(["Anna 有 3 个大象。"])


def test_a_run_is_cut_into_known_words_first_and_few_of_them():
    assert cut_run("在花园里有") == ("在", "花园里", "有")
    assert cut_run("有什么东西") == ("有什么东西",)
    assert cut_run("有大象") == ("有", "大", "象")


@given(st.text(alphabet="ab 在花园里有大象，。！ \n3"))
def test_the_units_of_a_text_are_the_text(text):
    assert "".join(units(text)) == text.lstrip()
    assert all(unit.strip() for unit in units(text))


@given(st.text(alphabet="ab é,.!\n3'"))
def test_texts_with_spaces_are_cut_at_their_spaces(text):
    assert [unit.strip() for unit in units(text)] == text.split()
