"""What `python -m benchmarks` keeps and shows of its results, and that its floor counts what a model multiplies."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import BloomConfig, BloomForCausalLM, MT5Config, MT5ForConditionalGeneration

from benchmarks import floor, page
from benchmarks.questions import Question
from benchmarks.results import Comparison, Part, Result, keep, read, table

MADE = {"command": "all", "commit": "aaa"}
AGAIN = {"command": "one", "commit": "bbb"}
SMALL_BLOOM = {"vocab_size": 500, "hidden_size": 32, "n_layer": 2, "n_head": 4}
SMALL_MT5 = {"vocab_size": 500, "d_model": 32, "d_kv": 4, "d_ff": 48, "num_layers": 2, "num_heads": 3}


def part(made, value):
    row = Comparison(
        "name", "row", {"workbench": [value, value + 1], "other": [2.0, 2.5]}, 0.5, {"other": "1e-05 nats"}
    )
    return Part(made, [Result("name", "what", value, "s", spread=(1.0, 2.0)), row])  # fmt: skip


@pytest.fixture
def kept(tmp_path):
    """A folder with the results of a whole run on one kind of processor."""
    keep({"first": part(MADE, 1.0), "second": part(MADE, 2.0)}, ["first", "second"], tmp_path / "AVX2.json")
    return tmp_path


def test_what_is_kept_can_be_read_again(kept):
    assert read(kept / "AVX2.json")["second"] == part(MADE, 2.0)


def test_a_part_measured_again_replaces_that_part_alone_and_says_how_it_was_made(kept):
    keep({"first": part(AGAIN, 3.0)}, ["first", "second"], kept / "AVX2.json")
    found = read(kept / "AVX2.json")
    assert {name: (each.made, each.results[0].value) for name, each in found.items()} == {
        "first": (AGAIN, 3.0),
        "second": (MADE, 2.0),
    }


def test_a_part_that_exists_no_more_leaves_the_file(kept):
    keep({"first": part(AGAIN, 3.0)}, ["first", "third"], kept / "AVX2.json")
    assert list(read(kept / "AVX2.json")) == ["first"]


def test_the_page_has_a_table_for_each_kind_of_processor_and_how_it_was_made(kept):
    keep({"first": part(AGAIN, 3.0)}, ["first"], kept / "AMX.json")
    page.write(kept, kept / "page.md")
    text = (kept / "page.md").read_text(encoding="utf-8")
    amx, avx2 = text.split("## AMX")[1].split("## AVX2")
    assert "first: command one; commit bbb." in amx
    assert "first, second: command all; commit aaa." in avx2


@pytest.mark.parametrize(("ours", "ahead"), [(1.0, "workbench"), (3.0, "other")])
def test_a_row_shows_every_contestant_and_who_is_ahead(ours, ahead):
    (_, row) = part(MADE, ours).findings
    shown = table([row]).splitlines()[2]
    assert shown.split(" | ")[1:] == [
        "0.50", f"{ours + 0.5:.2f} [{ours:.2f}, {ours + 1:.2f}]", "2.25 [2.00, 2.50]; 1e-05 nats", f"{ahead} |"
    ]  # fmt: skip


@pytest.fixture
def asked(monkeypatch):
    """One question with choices of 3 and 1 tokens, and small models in the place of the real ones."""
    monkeypatch.setattr(floor, "SIZES", {"small-bloom": SMALL_BLOOM, "small-mt5": SMALL_MT5})
    question = Question("a b c d e f g", ("h i j", "k"))
    monkeypatch.setattr(floor, "questions", lambda shape, count: [question] * count)


def multiplied(model, **inputs):
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(**inputs)
    return counter.get_total_flops()


def unseen(length):
    """The pairs of positions that a causal mask hides."""
    return length * (length - 1) / 2


def test_the_floor_of_a_decoder_counts_the_multiplications_of_its_sequences(asked):
    """Of two sequences, less the second reading of the prompt, less what is masked, less the head where nothing is asked."""
    model = BloomForCausalLM(BloomConfig(**SMALL_BLOOM))
    layers, width, words = (SMALL_BLOOM[name] for name in ("n_layer", "hidden_size", "vocab_size"))
    head = 2 * width * words

    def forward(length):
        ids = torch.zeros(1, length, dtype=torch.long)
        return multiplied(model, input_ids=ids) - layers * 4 * width * unseen(length) - length * head

    first, second = 7 + 3 - 1, 7 + 1 - 1
    assert (
        floor.operations("bloom", "small-bloom", "a", 1)
        == forward(first) + forward(second) - forward(7) + (1 + 2) * head
    )
    assert (
        floor.by_lm_eval("bloom", "small-bloom", "a", 1)
        == forward(first) + forward(second) + (first + second) * head
    )


def test_the_floor_of_an_encoder_decoder_counts_the_multiplications_of_its_passes(asked):
    """What all choices share is read once: the prompt, the keys and values of cross-attention, the start token."""
    model = MT5ForConditionalGeneration(MT5Config(**SMALL_MT5, attn_implementation="eager"))
    inner, layers = SMALL_MT5["num_heads"] * SMALL_MT5["d_kv"], SMALL_MT5["num_layers"]
    source = torch.zeros(1, 7 + 1, dtype=torch.long)

    def whole(length):
        ids = torch.zeros(1, length, dtype=torch.long)
        return multiplied(model, input_ids=source, decoder_input_ids=ids) - layers * 4 * inner * unseen(
            length
        )

    assert floor.by_lm_eval("mt5", "small-mt5", "a", 1) == whole(3) + whole(1)
    assert floor.operations("mt5", "small-mt5", "a", 1) == whole(3), (
        "the choice of one token reads what the other reads too"
    )
