"""What `python -m benchmarks` keeps of its results."""

import pytest

from benchmarks.results import Part, Result, keep, read

MADE = {"command": "all", "commit": "aaa"}
AGAIN = {"command": "one", "commit": "bbb"}


def part(made, value):
    return Part(made, [Result("name", "what", value, "s", spread=(1.0, 2.0))])


@pytest.fixture
def kept(tmp_path):
    """A folder with the results of a whole run."""
    keep({"first": part(MADE, 1.0), "second": part(MADE, 2.0)}, ["first", "second"], tmp_path)
    return tmp_path


def test_what_is_kept_can_be_read_again(kept):
    assert read(kept / "results.json")["second"].results[0].value == 2.0


def test_a_part_measured_again_replaces_that_part_alone_and_says_how_it_was_made(kept):
    keep({"first": part(AGAIN, 3.0)}, ["first", "second"], kept)
    found = read(kept / "results.json")
    assert {name: (each.made, each.results[0].value) for name, each in found.items()} == {
        "first": (AGAIN, 3.0),
        "second": (MADE, 2.0),
    }
    text = (kept / "results.md").read_text(encoding="utf-8")
    assert (
        text.index("**first**")
        < text.index("commit: bbb")
        < text.index("**second**")
        < text.index("commit: aaa")
    )


def test_a_part_that_exists_no_more_leaves_the_table(kept):
    keep({"first": part(AGAIN, 3.0)}, ["first", "third"], kept)
    assert list(read(kept / "results.json")) == ["first"]
