"""Words in scripts with spaces and without: known words come first, and units lose nothing."""

from hypothesis import given
from hypothesis import strategies as st

from workbench.family import vocabulary
from workbench.words import cut_run, units


def test_a_run_is_cut_into_known_words_first_and_few_of_them():
    assert cut_run("在花园里有", vocabulary()) == ("在", "花园里", "有")
    assert cut_run("有什么东西", vocabulary()) == ("有什么东西",)
    assert cut_run("有大象", vocabulary()) == ("有", "大", "象")
    assert cut_run("在花园里有", frozenset()) == tuple("在花园里有")  # the twin: where no word is known


@given(st.text(alphabet="ab 在花园里有大象，。！ \n3"))
def test_the_units_of_a_text_are_the_text(text):
    assert "".join(units(text)) == text.lstrip()
    assert all(unit.strip() for unit in units(text))


@given(st.text(alphabet="ab é,.!\n3'"))
def test_texts_with_spaces_are_cut_at_their_spaces(text):
    assert [unit.strip() for unit in units(text)] == text.split()
