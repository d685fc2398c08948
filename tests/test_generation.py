"""Generation: batch = single = transformers, padding changes nothing, cached = fresh, every setting is in the key."""

import json
import math
import shutil
import subprocess
import sys
from collections import Counter

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from workbench.engines.transformers import bloom, mt5, out_of_memory
from workbench.engines.transformers.decoding import DECODERS
from workbench.engines.transformers.kv_cache import KVCache
from workbench.engines.transformers.sampling import RowNoise, noise_source
from workbench.errors import BadInput
from workbench.inference.generation import generate
from workbench.models import load
from workbench.models.requests import Decoding, ToGenerate
from workbench.store import Store

PROMPTS = [
    "The cat sat on the mat. Translate to English:",
    "Le chat",
    "猫坐在垫子上。",
    "Paka ameketi juu ya mkeka. " * 4,
]


def slow_greedy(engine, prompt, steps):
    """One prompt, one token at a time, no cache, no padding."""
    ids = engine.tokenizer(prompt, return_tensors="pt").input_ids
    out = [engine.model.config.decoder_start_token_id] if engine.is_encoder_decoder else []
    for _ in range(steps):
        with torch.inference_mode():
            if engine.is_encoder_decoder:
                logits = engine.model(input_ids=ids, decoder_input_ids=torch.tensor([out])).logits
            else:
                logits = engine.model(
                    input_ids=torch.cat([ids, torch.tensor([out], dtype=torch.long)], 1)
                ).logits
        out.append(int(logits[0, -1].argmax()))
        if out[-1] == engine.tokenizer.eos_token_id:
            break
    return engine.tokenizer.decode(out, skip_special_tokens=True)


def test_it_equals_the_slow_loop(model):
    answers = generate(model, PROMPTS, max_new_tokens=12)
    assert [a.text for a in answers] == [slow_greedy(model.engine, p, 12) for p in PROMPTS]


def test_batch_single_and_any_order_give_the_same_texts(model, tmp_path):
    def texts(prompts, batch_size, name):
        handle = load(model.name, device="cpu", store=Store(tmp_path / name))
        return {a.prompt: a.text for a in generate(handle, prompts, max_new_tokens=10, batch_size=batch_size)}

    assert texts(PROMPTS, 4, "a") == texts(PROMPTS, 1, "b") == texts(PROMPTS[::-1], 3, "c")


def test_without_the_mask_padding_would_change_the_texts(model, monkeypatch):
    """The twin of the test above: it can fail."""
    whole = generate(model, PROMPTS, max_new_tokens=10)
    positions, source_bias = bloom._alibi, mt5._source_bias
    monkeypatch.setattr(bloom, "_alibi", lambda m, depths, seen: positions(m, depths, torch.ones_like(seen)))
    monkeypatch.setattr(mt5, "_source_bias", lambda m, heard: source_bias(m, torch.ones_like(heard)))
    unmasked = collect(model.engine.generate([ToGenerate(p) for p in PROMPTS], Decoding(10), 4))
    assert [a.text for a in whole] != [answer.text for answer in unmasked]


def collect(batches):
    found = {
        p: answer for positions, answers in batches for p, answer in zip(positions, answers, strict=True)
    }
    return [found[place] for place in sorted(found)]


MANY = [f"{prompt} {n}" for n in range(2) for prompt in PROMPTS]


def early_ends(model, prompts, steps):
    """Make the commonest greedy tokens end tokens, so that answers differ in length; returns what transformers writes."""
    engine = model.engine
    ids = [engine.tokenizer(p, return_tensors="pt").input_ids for p in prompts]
    free = [engine.model.generate(input_ids=each, max_new_tokens=steps, do_sample=False)[0] for each in ids]
    starts = [1 if engine.is_encoder_decoder else each.shape[1] for each in ids]
    seen = Counter(t for row, start in zip(free, starts, strict=True) for t in row[start + 1 :].tolist())
    ends = [token for token, _ in seen.most_common(4)]
    engine._ends = frozenset(ends)
    out = [
        engine.model.generate(input_ids=each, max_new_tokens=steps, do_sample=False, eos_token_id=ends)[
            0, start:
        ]
        for each, start in zip(ids, starts, strict=True)
    ]
    return [engine.tokenizer.decode([t for t in row.tolist() if t not in ends]) for row in out]


@pytest.mark.parametrize("rows", [1, 3, 16])
def test_rows_that_end_make_room_and_the_text_stays_transformers_own(model, rows):
    """Answers of many lengths, so that rows leave, move and come at every step."""
    prompts = MANY
    expected = early_ends(model, prompts, 12)
    answers = collect(model.engine.generate([ToGenerate(p) for p in prompts], Decoding(12), rows))
    assert [a.text for a in answers] == expected
    assert len({a.token_count for a in answers}) > 2


def test_a_row_in_the_wrong_slot_would_change_the_texts(model, monkeypatch):
    """The twin: the last row is not moved into the slot that a finished one leaves."""
    prompts = MANY
    expected = early_ends(model, prompts, 12)
    monkeypatch.setattr(KVCache, "move", lambda *args: None)
    answers = collect(model.engine.generate([ToGenerate(p) for p in prompts], Decoding(12), 3))
    assert [a.text for a in answers] != expected


def test_steps_are_those_of_the_tokens_and_not_of_the_slowest_row(model, monkeypatch):
    """Eight prompts in three rows: a static batch would take three times the longest answer."""
    prompts = MANY
    early_ends(model, prompts, 12)
    steps, decoder = [], DECODERS[model.architecture]
    step = decoder.step
    monkeypatch.setattr(decoder, "step", lambda self, tokens: steps.append(len(tokens)) or step(self, tokens))
    answers = collect(model.engine.generate([ToGenerate(p) for p in prompts], Decoding(12), 3))
    assert sum(steps) == sum(a.token_count + a.finished for a in answers)
    assert len(steps) < 3 * max(a.token_count + a.finished for a in answers)


@pytest.mark.parametrize("change", [{"repetition_penalty": 1.3}, {"min_new_tokens": 4}])
def test_other_settings_give_transformers_own_text_too(model, change):
    engine = model.engine
    ids = engine.tokenizer(PROMPTS[0], return_tensors="pt").input_ids
    out = engine.model.generate(input_ids=ids, max_new_tokens=8, do_sample=False, **change)
    expected = engine.tokenizer.decode(
        out[0, 1 if engine.is_encoder_decoder else ids.shape[1] :], skip_special_tokens=True
    )
    assert generate(model, PROMPTS, max_new_tokens=8, **change)[0].text == expected


def test_settings_that_the_checkpoint_brings_are_transformers_to_apply(model):
    """A finetuned model's generation_config may forbid words; rows that step themselves know nothing of that."""
    engine = model.engine
    ids = engine.tokenizer(PROMPTS[0], return_tensors="pt").input_ids
    first = engine.model.generate(input_ids=ids, max_new_tokens=1, do_sample=False)[0, -1].item()
    before = collect(engine.generate([ToGenerate(PROMPTS[0])], Decoding(3), 1))
    engine.model.generation_config.suppress_tokens = [first]
    after = collect(engine.generate([ToGenerate(PROMPTS[0])], Decoding(3), 1))
    assert before != after


def test_out_of_memory_halves_the_batch_and_goes_on(model, monkeypatch):
    expected = generate(
        load(model.name, device="cpu", store=Store(model.store.path.with_name("other"))),
        PROMPTS,
        max_new_tokens=6,
    )
    decoder = DECODERS[model.architecture]
    begin = decoder.begin

    def small(self, prompts):
        if len(prompts) > 1:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return begin(self, prompts)

    monkeypatch.setattr(decoder, "begin", small)
    with pytest.warns(UserWarning, match="out of memory with 4 prompts in a batch; continuing with 2"):
        assert generate(model, PROMPTS, max_new_tokens=6, batch_size=4) == expected
    monkeypatch.setattr(decoder, "begin", lambda self, prompts: small(self, [1, 2]))
    with (
        pytest.raises(BadInput, match="does not fit into memory"),
        pytest.warns(UserWarning, match="continuing with 1"),
    ):
        generate(model, ["Another prompt."], max_new_tokens=6, batch_size=2)


def test_cached_equals_fresh_and_asks_no_engine(model):
    fresh = generate(model, PROMPTS, max_new_tokens=10)
    again = load(model.name, device="cpu", store=model.store)
    assert generate(again, PROMPTS[::-1] + PROMPTS, max_new_tokens=10) == fresh[::-1] + fresh
    assert (again.tally.hits, again.tally.misses) == (len(PROMPTS), 0)
    assert "engine" not in vars(again)


def test_a_hit_imports_no_torch(model):
    generate(model, PROMPTS[:1], max_new_tokens=5)
    code = (
        "import sys; from workbench import load, generate; from workbench.store import Store;"
        f"generate(load({model.name!r}, store=Store({str(model.store.path)!r})), [{PROMPTS[0]!r}], max_new_tokens=5);"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "change",
    [
        {"max_new_tokens": 6}, {"min_new_tokens": 2}, {"num_beams": 2}, {"repetition_penalty": 1.2},
        {"do_sample": True, "seed": 0},
    ],
)  # fmt: skip
def test_every_setting_is_a_miss(model, change):
    generate(model, PROMPTS[:1], max_new_tokens=5)
    generate(model, PROMPTS[:1], **{"max_new_tokens": 5, **change})
    assert (model.tally.hits, model.tally.misses) == (0, 2)


@pytest.mark.parametrize(
    "first",
    [{"seed": 0}, {"seed": 1, "temperature": 0.5}, {"seed": 1, "top_k": 5}, {"seed": 1, "top_p": 0.5}],
)
def test_every_setting_of_sampling_is_a_miss(model, first):
    generate(model, PROMPTS[:1], max_new_tokens=3, do_sample=True, **first)
    generate(model, PROMPTS[:1], max_new_tokens=3, do_sample=True, seed=1)
    assert (model.tally.hits, model.tally.misses) == (0, 2)


def test_another_dtype_or_one_more_byte_is_a_miss_and_another_batch_size_is_not(model):
    generate(model, PROMPTS[:1], max_new_tokens=5)
    generate(model, PROMPTS[:1], max_new_tokens=5, batch_size=1)
    generate(model, [PROMPTS[0] + " "], max_new_tokens=5)
    assert (model.tally.hits, model.tally.misses) == (1, 2)
    other = load(model.name, dtype="bfloat16", device="cpu", store=model.store)
    generate(other, PROMPTS[:1], max_new_tokens=5)
    assert (other.tally.hits, other.tally.misses) == (0, 1)


def test_samples_do_not_depend_on_the_batch_and_differ_among_themselves(model, tmp_path):
    def sample(prompts, name, batch_size):
        handle = load(model.name, device="cpu", store=Store(tmp_path / name))
        options = {"do_sample": True, "seed": 3, "samples": 4, "temperature": 2.0, "batch_size": batch_size}
        return {(a.prompt, a.sample): a.text for a in generate(handle, prompts, max_new_tokens=6, **options)}

    together, apart = sample(PROMPTS, "a", 16), sample(PROMPTS[::-1], "b", 1)
    assert together == apart
    assert len(set(together.values())) > len(together) / 2


def test_samples_follow_the_models_distribution(model):
    """One step, many samples: the frequencies are the softmax's (twin: they are not those at another temperature)."""
    prompt, n = PROMPTS[1], 3000
    answers = generate(
        model, [prompt], max_new_tokens=1, do_sample=True, seed=0, samples=n, batch_size=500, temperature=4.0
    )
    engine = model.engine
    ids = engine.tokenizer(prompt, return_tensors="pt").input_ids
    extra = {"decoder_input_ids": torch.tensor([[0]])} if engine.is_encoder_decoder else {}
    with torch.inference_mode():
        logits = engine.model(input_ids=ids, **extra).logits[0, -1]
    drawn = Counter(answer.text for answer in answers)

    def distance(temperature):
        expected = Counter()
        for token, p in enumerate(torch.softmax(logits / temperature, -1).tolist()):
            text = "" if token in engine._ends else engine.tokenizer.decode([token], skip_special_tokens=True)
            expected[text] += p
        return sum(abs(drawn[t] / n - expected[t]) for t in expected | drawn) / 2

    noise = math.sqrt(len(logits) / n)
    assert distance(4.0) < noise / 2 < distance(1.0)


def test_beams_equal_transformers_own(model):
    engine = model.engine
    ids = engine.tokenizer(PROMPTS[0], return_tensors="pt").input_ids
    out = engine.model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), num_beams=3, max_new_tokens=8, do_sample=False
    )
    start = 1 if engine.is_encoder_decoder else ids.shape[1]
    expected = engine.tokenizer.decode(out[0, start:], skip_special_tokens=True)
    assert generate(model, PROMPTS[:1], max_new_tokens=8, num_beams=3)[0].text == expected


@pytest.mark.parametrize(
    ("prompts", "options", "message"),
    [
        ([""], {}, "prompt 0 is ''"),
        (["fine", "  "], {}, "prompt 1"),
        ("one string", {}, "give a list"),
        (["fine"], {"do_sample": True}, "without a seed.*--seed 0"),
        (["fine"], {"temperature": 0.5}, "do_sample=True.*--sample"),
        (["fine"], {"do_sample": True, "seed": 0, "num_beams": 2}, "num_beams=1"),
        (["word " * 200], {}, "128|shorten"),
    ],
)
def test_bad_input_is_one_clear_sentence_and_stores_nothing(model, prompts, options, message):
    with pytest.raises(BadInput, match=message):
        generate(model, prompts, max_new_tokens=5, **options)
    assert model.store.info()["answers"] == 0


def test_max_new_tokens_must_be_said(model):
    with pytest.raises(TypeError, match="max_new_tokens"):
        generate(model, PROMPTS)


def test_a_failure_in_a_later_batch_keeps_the_earlier_ones(model, monkeypatch):
    decoder, calls = DECODERS[model.architecture], []
    begin = decoder.begin

    def fail_second(*args):
        calls.append(1)
        if len(calls) == 2:
            raise OSError
        return begin(*args)

    monkeypatch.setattr(decoder, "begin", fail_second)
    with pytest.raises(OSError):  # noqa: PT011
        generate(model, PROMPTS, max_new_tokens=5, batch_size=2)
    again = load(model.name, device="cpu", store=model.store)
    generate(again, PROMPTS, max_new_tokens=5, batch_size=2)
    assert again.tally.hits > 0
    assert again.tally.hits + again.tally.misses == len(PROMPTS)


def generate_in_batches(said, name, path):
    """Generate in batches of four, and say when one begins."""
    torch.set_num_threads(1)  # a fork has no threads but its own
    model = load(name, store=Store(path), device="cpu")
    decoder = DECODERS[model.architecture]
    begin = decoder.begin

    def announce(*given):
        said.send("batch")
        return begin(*given)

    decoder.begin = announce
    prompts = [f"prompt number {n}" for n in range(80)]
    generate(model, prompts, max_new_tokens=20, batch_size=4, progress=False)


def test_killed_in_the_middle_it_goes_on_where_it_was(model, process_of):
    process, said = process_of(generate_in_batches, model.name, model.store.path)
    for _ in range(6):
        assert said.recv() == "batch"
    process.kill()
    process.join()
    kept = model.store.info()["answers"]
    assert 5 <= kept < 80
    generate(model, [f"prompt number {n}" for n in range(80)], max_new_tokens=20)
    assert (model.tally.hits, model.tally.misses) == (kept, 80 - kept)


def test_an_interrupt_says_what_is_kept(model, monkeypatch):
    decoder, calls = DECODERS[model.architecture], []
    begin = decoder.begin

    def stop_second(*args):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return begin(*args)

    monkeypatch.setattr(decoder, "begin", stop_second)
    with pytest.raises(KeyboardInterrupt, match=r"interrupted after [12] of 4 answers.*repeat the call"):
        generate(model, PROMPTS, max_new_tokens=5, batch_size=2)
    assert model.store.info()["answers"] > 0


texts = st.text(alphabet="abc déф猫。 \n", min_size=1, max_size=30).filter(str.strip)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(prompts=st.lists(texts, min_size=2, max_size=6))
def test_any_batch_of_any_texts_equals_one_by_one(model, prompts):
    requests = [ToGenerate(prompt) for prompt in prompts]
    together = collect(model.engine.generate(requests, Decoding(5), 6))
    for place, request in enumerate(requests):
        [(_, [alone])] = model.engine.generate([request], Decoding(5), 1)
        assert together[place] == alone


def test_answers_of_another_device_are_counted_and_can_be_refused(model):
    """As if a GPU had answered before."""
    generate(model, PROMPTS, max_new_tokens=4)
    [context] = model.store.contexts()
    given = [(question, value) for question, value, *_ in model.store.entries(context)]
    model.store.path.unlink()
    model.store.put(context, given, device="cuda")
    taking = load(model.name, device="cpu", store=model.store)
    generate(taking, PROMPTS, max_new_tokens=4)
    assert taking.tally.hits_by_device == {"cuda": len(PROMPTS)}
    refusing = load(model.name, device="cpu", store=model.store, same_device=True)
    generate(refusing, PROMPTS, max_new_tokens=4)
    assert (refusing.tally.hits, refusing.tally.misses) == (0, len(PROMPTS))
    generate(refusing, PROMPTS, max_new_tokens=4)  # once it recomputed for ever
    assert (refusing.tally.hits, refusing.tally.hits_by_device) == (len(PROMPTS), {"cpu": len(PROMPTS)})


def test_a_run_notes_the_hits_and_misses_of_all_handles_of_a_model(model, tmp_path, monkeypatch):
    """The manifest once showed only the last handle's."""
    monkeypatch.setenv("WORKBENCH_RUN", str(tmp_path))
    for prompts in (PROMPTS[:2], PROMPTS[:3]):
        generate(load(model.name, device="cpu", store=model.store), prompts, max_new_tokens=3)
    [facts] = json.loads((tmp_path / "facts.json").read_text())["models"].values()
    assert (facts["store_hits"], facts["store_misses"]) == (2, 3)
    assert facts["hits_by_device"] == {"cpu": 2}


def in_a_copy(model, tmp_path, **settings):
    """The same checkpoint with other settings in its generation_config.json."""
    folder = tmp_path / "copy"
    shutil.copytree(model.name, folder)
    path = folder / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))
    return load(str(folder), device="cpu", store=model.store)


@pytest.mark.parametrize("beams", [1, 2])
@pytest.mark.parametrize(
    "settings",
    [
        {"num_return_sequences": 2},
        {"num_return_sequences": 3, "num_beams": 4},
        {"return_dict_in_generate": True, "output_scores": True, "output_logits": True},
        {"output_attentions": True, "output_hidden_states": True, "return_dict_in_generate": True},
        {"stop_strings": ["a"]},
        {"do_sample": True, "temperature": 0.3, "top_k": 5, "top_p": 0.5, "min_p": 0.1, "typical_p": 0.4},
        {"max_length": 3, "min_length": 30, "max_time": 0.0},
        {"repetition_penalty": 3.0, "num_beams": 3, "penalty_alpha": 0.6},
        {"use_cache": False},
    ],
)
def test_what_a_checkpoint_says_of_output_and_search_changes_nothing(model, tmp_path, settings, beams):
    """`num_return_sequences` once gave twice as many answers as prompts, `stop_strings` a raw error."""
    expected = generate(model, PROMPTS, max_new_tokens=6, num_beams=beams)
    assert (
        generate(in_a_copy(model, tmp_path, **settings), PROMPTS, max_new_tokens=6, num_beams=beams)
        == expected
    )


@pytest.mark.parametrize("beams", [1, 2])
def test_what_it_rules_out_stays_ruled_out_in_a_batch_as_alone(model, tmp_path, beams):
    """The twin, in company of settings that are dropped."""
    whole = generate(model, PROMPTS, max_new_tokens=6, num_beams=beams)
    ids = model.engine.tokenizer(PROMPTS[0], return_tensors="pt").input_ids
    first = model.engine.model.generate(input_ids=ids, max_new_tokens=6, do_sample=False, num_beams=beams)[
        0, -6
    ].item()
    ruled = in_a_copy(model, tmp_path, suppress_tokens=[first], stop_strings=["a"], no_repeat_ngram_size=2)
    assert generate(ruled, PROMPTS, max_new_tokens=6, num_beams=beams)[0].text != whole[0].text


def test_each_answer_says_whether_it_came_from_the_store(model):
    generate(model, PROMPTS[:2], max_new_tokens=3)
    found = generate(model, PROMPTS, max_new_tokens=3)
    assert [each.from_store for each in found] == [True, True, False, False]
    assert generate(model, PROMPTS, max_new_tokens=3) == found  # which does not count


def test_noise_has_the_tail_of_its_distribution_and_no_steps():
    """From float32 numbers it ended at 16 nats, in steps of a millionth of a probability."""
    noise = RowNoise([noise_source(f"{n}") for n in range(8)])(torch.LongTensor(), torch.zeros(8, 500_000))
    assert noise.isfinite().all()
    largest = noise.flatten().sort(descending=True).values
    assert len(largest[:2000].unique()) == 2000
    for quantile in (0.5, 1e-3, 1e-5):  # P(noise > x) = 1 - exp(-exp(-x))
        place = largest[int(quantile * len(largest))].item()
        assert place == pytest.approx(-math.log(-math.log1p(-quantile)), abs=0.5 if quantile < 1e-4 else 0.05)


def test_noise_goes_on_beyond_what_float32_can_hold(monkeypatch):
    tiny = torch.tensor([2.0**-40, 0.0, 0.5], dtype=torch.float64)
    monkeypatch.setattr(torch, "rand", lambda *size, **options: tiny.to(options.get("dtype", torch.float32)))
    noise = RowNoise([torch.Generator()])(torch.LongTensor(), torch.zeros(1, 3))[0]
    assert noise.tolist() == pytest.approx(
        [40 * math.log(2), 54 * math.log(2), -math.log(math.log(2))], abs=1e-4
    )


def test_a_mt5_base_answers_with_its_sentinels(checkpoints, store, tmp_path):
    """They are what a base says about hidden spans; the tokenizer counts them as special and leaves them out."""
    folder = tmp_path / "sentinels"
    shutil.copytree(checkpoints["mt5"], folder)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<extra_id_0>", "<extra_id_1>"]})
    first = tokenizer.convert_tokens_to_ids("<extra_id_0>")
    tokenizer.save_pretrained(folder)
    engine = load(str(folder), device="cpu", store=store).engine
    word = engine.tokenizer("chat", add_special_tokens=False)["input_ids"]
    ids = [engine._pad, first, *word, first + 1, *engine._ends]
    assert engine.decode(ids).text.replace(" ", "") == "<extra_id_0>chat<extra_id_1>"
    assert engine.decode([engine._pad, *word, *engine._ends]).text == "chat"


def test_a_prefill_has_a_budget_of_tokens(model, monkeypatch):
    monkeypatch.setattr(out_of_memory, "AT_ONCE", 60)
    decoder, begun = DECODERS[model.architecture], []
    begin = decoder.begin
    monkeypatch.setattr(
        decoder,
        "begin",
        lambda self, prompts: begun.append([len(p) for p in prompts]) or begin(self, prompts),
    )
    prompts = [f"{prompt} {n}" for prompt in PROMPTS for n in range(3)]
    found = generate(model, prompts, max_new_tokens=3)
    assert len(begun) > 1
    assert all(len(part) == 1 or len(part) * max(part) <= 60 for part in begun)
    monkeypatch.setattr(out_of_memory, "AT_ONCE", 10**6)
    other = load(model.name, device="cpu", store=Store(model.store.path.with_name("other")))
    assert generate(other, prompts, max_new_tokens=3) == found


@pytest.mark.parametrize(
    ("error", "memory_ran_out"),
    [
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"),
            True,
        ),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 5.0 GB)"), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), True),
        (MemoryError(), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (RuntimeError("unsupported memory format option Preserve"), False),
        (RuntimeError("some elements of the input tensor refer to a single memory location"), False),
    ],
)
def test_only_a_lack_of_memory_is_taken_for_one(error, memory_ran_out):
    """An illegal access was once answered with half the batch, over and over."""
    assert out_of_memory.ran_out(error) is memory_ran_out
