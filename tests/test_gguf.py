"""GGUF files in llama.cpp, on both architectures: made from a checkpoint, they answer as it does."""

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

from workbench import Item, alternatives, generate, hidden_states, load, rank, score
from workbench.errors import BadInput
from workbench.gguf_header import read_header
from workbench.models.requests import ComputeOptions, ScoringRule, ToScore
from workbench.store import Store

pytestmark = pytest.mark.skipif(
    not (find_spec("llama_cpp") and find_spec("gguf")),
    reason="needs llama.cpp, of the extra `gguf` (make gguf-tests)",
)
TEXTS = ["The cat sat on the mat.", "Le chat", "Paka ameketi juu ya mkeka, El gato duerme.", "猫坐在垫子上。"]
ITEMS = [Item(str(place), text, ("yes", "no, maybe", "Le chat")) for place, text in enumerate(TEXTS)]
EXACT = 0.03  # nats
RULE = ScoringRule()


@pytest.fixture(scope="module")
def files(checkpoints, tmp_path_factory):
    """A file in float32 of each architecture."""
    converting = pytest.importorskip("workbench.engines.gguf.converting")
    folder = tmp_path_factory.mktemp("files")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(converting, "_TEXTS", 6)
        return {
            side: converting.to_gguf(str(place), folder / f"{side}.gguf", kind="F32").file
            for side, place in checkpoints.items()
        }


@pytest.fixture
def pair(model, checkpoints, files, store):
    """A checkpoint and its file."""
    side = model.architecture
    return model, load(files[side], tokenizer=checkpoints[side], store=store)


def flat(table):
    return np.concatenate([np.asarray(scores) for scores in table["scores"]])


def logprobs(engine, pairs, **options):
    found = {}
    for positions, answers in engine.score(
        [ToScore(*each) for each in pairs], RULE, ComputeOptions(**options)
    ):
        found |= dict(zip(positions, answers, strict=True))
    return [found[number].logprobs for number in range(len(pairs))]


@pytest.mark.parametrize("protocol", ["xmtf", "per-token", "pmi", "lm-eval"])
def test_a_file_ranks_as_its_checkpoint_under_every_protocol(pair, protocol):
    ours, theirs = (rank(each, ITEMS, protocol=protocol, progress=False) for each in pair)
    assert np.abs(flat(ours) - flat(theirs)).max() < EXACT
    assert list(ours.prediction) == list(theirs.prediction)


def test_a_file_generates_and_samples_the_same_texts(pair):
    for options in ({}, {"do_sample": True, "seed": 3, "samples": 2, "top_k": 9}, {"min_new_tokens": 5}):
        ours, theirs = (
            [one.text for one in generate(each, TEXTS, max_new_tokens=6, progress=False, **options)]
            for each in pair
        )
        assert ours == theirs


def test_more_prompts_than_rows_are_generated_as_alone(pair):
    _, file = pair
    prompts = [f"{text} {n}" for n in range(4) for text in TEXTS]
    together = generate(file, prompts, max_new_tokens=5, batch_size=3, progress=False)
    for prompt, answer in zip(prompts[:5], together, strict=False):
        alone = Store(file.store.path.with_name("alone.sqlite"))
        assert generate(replace(file, store=alone), [prompt], max_new_tokens=5)[0].text == answer.text


def test_many_long_prompts_with_short_answers_are_read_at_once(pair):
    model, file = pair
    prompts = [f"{n} Paka ameketi juu ya mkeka, El gato duerme. " * 2 for n in range(16)]
    assert [one.text for one in generate(file, prompts, max_new_tokens=1, progress=False)] == [
        one.text for one in generate(model, prompts, max_new_tokens=1, progress=False)
    ]


def test_texts_alone_give_no_number_for_the_first_token_of_a_decoder(pair):
    ours, theirs = (score(each, TEXTS, progress=False) for each in pair)
    for one, other in zip(ours, theirs, strict=True):
        assert one.tokens == other.tokens
        assert [value is None for value in one.logprobs] == [value is None for value in other.logprobs]
        assert all(
            abs(a - b) < EXACT for a, b in zip(one.logprobs, other.logprobs, strict=True) if a is not None
        )


def test_scores_do_not_depend_on_the_batch_and_shared_beginnings(pair):
    _, file = pair
    prompts = ["Premise and hypothesis: " + text for text in TEXTS]
    pairs = [
        (prompt, text) for prompt in prompts for text in ("yes", "no, maybe", "no", "Le chat", "yes, yes")
    ]
    together = logprobs(file.engine, pairs)
    small = logprobs(file.engine, pairs, batch_tokens=128)
    for n, each in enumerate(pairs):
        (alone,) = logprobs(file.engine, [each])
        assert np.allclose(together[n], alone, atol=1e-3)
        assert np.allclose(small[n], alone, atol=1e-3)
        assert (
            logprobs(file.engine, [each], exact=True)
            == logprobs(file.engine, pairs[n : n + 2], exact=True)[:1]
        )


def test_what_else_could_have_come_is_what_the_checkpoint_says_and_is_stored(pair):
    ours, theirs = ([alternatives(each, text, "猫 chat", 4) for text in TEXTS] for each in pair)
    for one, other in zip(ours, theirs, strict=True):
        assert [step.text for step in one.steps] == [step.text for step in other.steps]
        for step, its in zip(one.steps, other.steps, strict=True):
            assert abs(step.logprob - its.logprob) < EXACT
            assert np.allclose([value for _, value in step.top], [value for _, value in its.top], atol=EXACT)
        assert [step.top[0][0] for step in one.steps] == [step.top[0][0] for step in other.steps]
    _, file = pair
    assert alternatives(file, "", TEXTS[0]).steps[0].logprob is None or file.is_encoder_decoder
    again = replace(file, tally=type(file.tally)())
    assert alternatives(again, TEXTS[0], "猫 chat", 4) == theirs[0]
    assert (again.tally.misses, again.where) == (0, "not loaded")


def test_a_generation_is_watched_token_by_token_and_stopped(pair):
    _, file = pair
    seen = []

    def watch(_, text):
        seen.append(text)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(file, [TEXTS[0]], max_new_tokens=9, min_new_tokens=9, watch=watch)
    (whole,) = generate(file, [TEXTS[0]], max_new_tokens=9, min_new_tokens=9, progress=False)
    assert len(seen) == 3
    assert whole.text.startswith(seen[-1].rstrip("\ufffd"))


def test_answers_are_kept_under_the_type_and_digest_of_the_file_and_the_version_of_the_library(pair, files):
    ours, file = pair
    rank(file, ITEMS, progress=False)
    again = replace(file, tally=type(file.tally)())
    rank(again, ITEMS, progress=False)
    assert (again.tally.misses, again.where) == (0, "not loaded")
    mine, theirs = ours.fingerprint("score"), file.fingerprint("score")
    assert (theirs["dtype"], theirs["engine"]) == ("F32", "gguf")
    assert "llama-cpp-python" in theirs["library"]
    assert (mine["weights"] != theirs["weights"], mine["tokenizer"]) == (True, theirs["tokenizer"])
    assert (file.precision, file.tolerance, file.provenance["dtype"]) == ("F32", EXACT, "F32")


def test_states_hf_beams_and_penalties_are_refused_in_a_sentence(pair):
    _, file = pair
    for ask, message in (
        (lambda: hidden_states(file, TEXTS), "cannot compute states"),
        (lambda: file.hf, "there is no model.hf"),
        (lambda: generate(file, TEXTS, max_new_tokens=2, num_beams=2), "num_beams=2"),
        (lambda: generate(file, TEXTS, max_new_tokens=2, repetition_penalty=1.5), "repetition_penalty=1.5"),
        (lambda: load(file.name, random_seed=1, store=file.store).engine, "random_seed=1"),
        (lambda: generate(file, ["cat " * 200], max_new_tokens=2), "shorten one of them"),
    ):
        with pytest.raises(BadInput, match=message):
            ask()


def test_a_file_whose_tokens_are_another_tokenizers_is_refused(files, store):
    handle = load(files["bloom"], tokenizer="mini-bloomz", store=store)
    with pytest.raises(BadInput, match="made with another tokenizer"):
        _ = handle.engine


def test_a_file_with_a_tensor_of_another_shape_or_none_is_refused_before_llama_cpp_reads_it(
    files, checkpoints, tmp_path, store
):
    whole = files["bloom"].read_bytes()
    for number, (old, new) in enumerate(
        ((b"blk.1.ffn_up.weight", b"blk.7.ffn_up.weight"), (b"bloom.block_count", b"bloom.block_kount"))
    ):
        broken = tmp_path / f"{number}.gguf"
        broken.write_bytes(whole.replace(old, new))
        with pytest.raises(BadInput, match="is not a whole model"):
            _ = load(broken, tokenizer=checkpoints["bloom"], store=store).engine


def test_sizes_over_which_llama_cpp_would_end_the_process_are_refused(files, checkpoints, tmp_path, store):
    whole = files["mt5"].read_bytes()
    for field, value in (
        (b"t5.context_length", 0),
        (b"t5.context_length", 2**31),
        (b"t5.block_count", 2**31),
    ):
        start = whole.index(field) + len(field) + 4
        broken = tmp_path / "broken.gguf"
        broken.write_bytes(whole[:start] + value.to_bytes(4, "little") + whole[start + 4 :])
        with pytest.raises(BadInput, match="is not a whole model"):
            _ = load(broken, tokenizer=checkpoints["mt5"], store=store).engine


def test_a_file_in_the_hubs_cache_is_found_by_its_type(files, checkpoints, fill_hub_cache, tmp_path, store):
    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / "some.F32.gguf").write_bytes(files["mt5"].read_bytes())
    fill_hub_cache(repository, "owner/some-GGUF")
    name = f"owner/some-GGUF:F32#{checkpoints['mt5']}"
    assert rank(load(name, store=store), ITEMS, progress=False).shape[0] == len(ITEMS)
    assert load(name, store=store).identity.commit == "c" * 40


def test_a_file_that_changes_after_it_was_loaded_is_noticed(pair, tmp_path, checkpoints, store):
    ours, file = pair
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(file.identity.file.read_bytes())
    handle = load(copy, tokenizer=checkpoints[ours.architecture], store=store)
    _ = handle.engine
    content = bytearray(copy.read_bytes())
    content[-40] ^= 1
    copy.write_bytes(content)
    with pytest.raises(BadInput, match=r"copy.gguf .*changed after"):
        rank(handle, ITEMS, progress=False)


def test_a_file_that_holds_the_head_twice_is_read_as_llama_cpps_older_converter_wrote_it(
    checkpoints, tmp_path, store
):
    writing = pytest.importorskip("workbench.engines.gguf.writing")
    from workbench.engines.gguf.vocabulary import vocabulary_of

    places = writing._places

    def with_head(folder, architecture):
        found = dict(places(folder, architecture))
        return [*found.items(), ("output.weight", found["token_embd.weight"])]

    file = tmp_path / "twice.gguf"
    handle = load(str(checkpoints["bloom"]), device="cpu", store=store)
    vocabulary = vocabulary_of(handle.engine.tokenizer, 400, is_encoder_decoder=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "_places", with_head)
        writing.write(checkpoints["bloom"], file, "F16", vocabulary, {})
    assert "output.weight" in read_header(file).tensors
    theirs = rank(load(file, tokenizer=checkpoints["bloom"], store=store), ITEMS, progress=False)
    assert np.abs(flat(rank(handle, ITEMS, progress=False)) - flat(theirs)).max() < 0.1
