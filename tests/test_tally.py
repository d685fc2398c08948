"""Laws of tallies and audits: sums of any calls, in any order, as manifests hold them."""

import json

from hypothesis import given
from hypothesis import strategies as st

from workbench.inference.generation import generate
from workbench.models import load
from workbench.models.tally import Audit, Tally

counts = st.integers(0, 10**6)
tallies = st.builds(
    Tally, st.dictionaries(st.sampled_from(["cpu", "cuda", "mps"]), st.integers(1, 10**6)), counts
)
audits = st.builds(Audit, counts, st.floats(0, 10), st.lists(st.text(max_size=5), max_size=3).map(tuple))


@given(first=tallies, second=tallies)
def test_a_sum_of_tallies_counts_every_answer_once(first, second):
    total = first + second
    assert (total.hits, total.misses) == (first.hits + second.hits, first.misses + second.misses)
    assert total == second + first
    assert first + Tally() == first


@given(tallies)
def test_a_tally_is_read_back_from_a_manifest(tally):
    assert Tally.from_facts(json.loads(json.dumps({"dtype": "float32", **tally.facts()}))) == tally
    assert Tally.from_facts({}) == Tally()


@given(first=audits, second=audits)
def test_a_sum_of_audits_keeps_the_largest_difference_and_every_flip(first, second):
    total = first + second
    assert total.items == first.items + second.items
    assert total.largest_difference == max(first.largest_difference, second.largest_difference)
    assert total.flips == (*first.flips, *second.flips)
    assert Audit(**json.loads(json.dumps(total.facts()))).facts() == total.facts()


def test_a_handles_tally_is_its_own_and_a_runs_that_of_all_its_handles(model, tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_RUN", str(tmp_path))
    for prompts in (["one"], ["one", "two"], ["one", "two"]):
        handle = load(model.name, device="cpu", store=model.store)
        generate(handle, prompts, max_new_tokens=2)
    assert handle.tally == Tally({"cpu": 2}, 0)  # of the last handle alone
    [facts] = json.loads((tmp_path / "facts.json").read_text())["models"].values()
    assert Tally.from_facts(facts) == Tally({"cpu": 3}, 2)
