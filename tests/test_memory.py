"""Laws of batches that fit into memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.engines.transformers.out_of_memory import AT_ONCE, in_halves, parts
from workbench.errors import BadInput

lengths = st.lists(st.integers(0, 2 * AT_ONCE), min_size=1, max_size=40)


@given(lengths=lengths, rows=st.integers(1, 16))
def test_every_prompt_is_in_one_batch_and_no_batch_is_too_large(lengths, rows):
    order = sorted(range(len(lengths)), key=lambda number: -lengths[number])
    batches = list(parts(order, lengths, rows))
    assert [number for batch in batches for number in batch] == order
    for batch in batches:
        assert len(batch) <= rows
        assert len(batch) == 1 or len(batch) * lengths[batch[0]] <= AT_ONCE


@pytest.mark.parametrize("fits", [1, 3, 8])
def test_when_memory_runs_out_the_rest_goes_on_in_smaller_batches(fits):
    sizes = []

    def work(order, rows):
        for batch in parts(order, [1] * 20, rows):
            sizes.append(len(batch))
            if len(batch) > fits:
                raise MemoryError
            yield dict.fromkeys(batch, "done")

    with pytest.warns(UserWarning, match="out of memory with 16 prompts"):
        batches = list(in_halves(range(20), 16, [1] * 20, work))
    assert sorted(number for batch in batches for number in batch) == list(range(20))
    assert sum(size for size in sizes if size <= fits) == 20  # nothing was computed twice


def test_twin_a_prompt_that_does_not_fit_alone_is_refused_and_another_error_is_not_hidden():
    def full(order, rows):
        raise MemoryError
        yield

    def broken(order, rows):
        raise RuntimeError("shapes do not match")
        yield

    with (
        pytest.warns(UserWarning, match="out of memory"),
        pytest.raises(BadInput, match="of 7 tokens or more, does not fit"),
    ):
        list(in_halves([0, 1], 2, [7, 5], full))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        list(in_halves([0, 1], 2, [7, 5], broken))
