"""Weights in 8 and 4 bit, on both architectures: answers, keys, memory, and what is refused."""

import json
import logging
import shutil
import subprocess
import sys
import textwrap
from importlib.util import find_spec
from unittest.mock import patch

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, GPT2Config, GPT2LMHeadModel

from workbench import Item, generate, hidden_states, load, rank, score
from workbench.engines.transformers import SPEC
from workbench.engines.transformers.precision import better_wide
from workbench.engines.transformers.quantized import scales, settings
from workbench.errors import BadInput
from workbench.models.memory import bytes_of_weights
from workbench.service.openai import wanted_by_name
from workbench.store import Store
from workbench.tasks import make_items, read_rows, task_templates
from workbench.training import finetune

needs_bitsandbytes = pytest.mark.skipif(
    find_spec("bitsandbytes") is None, reason="needs bitsandbytes, of the extra `quantized`"
)
both = pytest.mark.parametrize("bits", ["8bit", "4bit"])
TEXTS = ["The cat sat on the mat.", "Le chat", "Paka ameketi juu ya mkeka, El gato duerme.", "猫坐在垫子上。"]
ITEMS = [Item(str(place), text, ("yes", "no, maybe", "Le chat")) for place, text in enumerate(TEXTS)]
NEAR = 1e-4  # nats, as in float32
KEY_OF_PLAIN = {"quantization": None}  # since the first version; a change here would lose everybody's answers


def quantized(model, bits, store=None, **options):
    return load(model.name, device="cpu", quantization=bits, store=store or model.store, **options)


def flat(table):
    return np.concatenate([np.asarray(scores) for scores in table["scores"]])


@needs_bitsandbytes
@both
def test_every_kind_of_answer_is_given_and_the_second_time_from_the_store(model, bits):
    handle = quantized(model, bits)
    asked = (
        lambda it: [one.text for one in generate(it, TEXTS, max_new_tokens=4)],
        lambda it: rank(it, ITEMS, progress=False).to_dict(),
        lambda it: score(it, TEXTS),
        lambda it: hidden_states(it, TEXTS).array.tolist(),
    )
    fresh = [ask(handle) for ask in asked]
    again = quantized(model, bits)
    assert [str(ask(again)) for ask in asked] == [str(each) for each in fresh]
    assert (again.tally.misses, again.where) == (0, "not loaded")
    assert "bitsandbytes" in handle.engine.libraries
    assert not better_wide(handle.engine.model)


@needs_bitsandbytes
@both
def test_a_quantized_score_is_what_the_prompt_alone_gives_whatever_the_batch(model, bits, tmp_path):
    together = flat(rank(quantized(model, bits), ITEMS, progress=False))
    one_by_one = [
        flat(rank(quantized(model, bits, Store(tmp_path / item.id)), [item], exact=True, progress=False))
        for item in ITEMS
    ]
    near = (
        NEAR if bits == "8bit" else quantized(model, bits).tolerance
    )  # some processors multiply 4 bit in bfloat16
    assert np.abs(together - np.concatenate(one_by_one)).max() < near
    if bits == "4bit":
        return
    texts = generate(quantized(model, bits), TEXTS, max_new_tokens=6)
    alone = [
        generate(quantized(model, bits, Store(tmp_path / "alone")), [text], max_new_tokens=6)[0]
        for text in TEXTS
    ]
    assert [one.text for one in texts] == [one.text for one in alone]
    states = hidden_states(quantized(model, bits), TEXTS).array
    one = hidden_states(quantized(model, bits, Store(tmp_path / "states")), TEXTS[1:2]).array
    assert np.allclose(states[1:2], one, atol=1e-4)


@needs_bitsandbytes
def test_twin_with_outliers_in_half_precision_scores_depend_on_the_batch(checkpoints, store, tmp_path):
    """Without the threshold of 0, columns are chosen by the batch; loud activations show it."""

    def with_outliers(*_):
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=1.0)

    with patch("workbench.engines.transformers.loading.settings", with_outliers):
        handle = load(str(checkpoints["bloom"]), device="cpu", quantization="8bit", store=store)
        together = flat(rank(handle, ITEMS, progress=False))
        again = load(handle.name, device="cpu", quantization="8bit", store=Store(tmp_path / "other"))
        alone = np.concatenate([flat(rank(again, [item], exact=True, progress=False)) for item in ITEMS])
    assert np.abs(together - alone).max() > 10 * NEAR


def test_what_quantizes_is_in_the_key_and_the_key_of_plain_weights_is_the_old_one(model):
    prints = [
        load(model.name, quantization=bits, store=model.store).fingerprint("score")
        for bits in (None, "8bit", "4bit")
    ]
    assert {name: prints[0][name] for name in KEY_OF_PLAIN} == KEY_OF_PLAIN
    assert prints[0].keys() == {"weights", "tokenizer", "dtype", "engine", "algorithm", "quantization"}
    assert "threshold 0.0" in prints[1]["quantization"]
    assert "nf4" in prints[2]["quantization"]
    assert SPEC.options == KEY_OF_PLAIN


@needs_bitsandbytes
def test_no_answer_of_one_precision_is_taken_for_one_of_another(model):
    handles = [
        model,
        quantized(model, "8bit"),
        quantized(model, "4bit"),
        quantized(model, "8bit", dtype="bfloat16"),
    ]
    for handle in handles:
        rank(handle, ITEMS, progress=False)
        assert (handle.tally.hits, handle.tally.misses) == (0, 12)
    assert len({handle.label for handle in handles}) == 4
    precisions = {kind.split(" ", 2)[2] for kind in model.store.info()["by_kind"]}
    assert precisions == {"float32", "8bit float32", "4bit float32", "8bit bfloat16"}


@needs_bitsandbytes
@pytest.mark.parametrize(("bits", "mean", "flips"), [("8bit", 0.2, 3), ("4bit", 0.8, 6)])
@pytest.mark.parametrize("name", ["mini-bloomz", "mini-mt0"])
def test_the_drift_from_float32_is_small_but_there(name, bits, mean, flips, store):
    """Measured on 144 items: 0.13 / 0.61 (mini-bloomz) and 0.09 / 0.49 nats (mini-mt0), at most 3 predictions changed."""
    wordings = [one for one in task_templates("who") if one.language == "x-en"][:2]
    items = make_items(read_rows("who", languages=["x-en", "x-fr"], limit=10), wordings)
    plain, small = (
        rank(load(name, quantization=each, store=store), items, progress=False) for each in (None, bits)
    )
    drift = np.abs(flat(plain) - flat(small))
    assert 0.001 < drift.mean() < mean
    assert (plain["prediction"] != small["prediction"]).sum() <= flips


@needs_bitsandbytes
@both
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_memory_is_as_forecast_within_a_tenth(model, bits, dtype):
    handle = quantized(model, bits, dtype=dtype)
    tensors = {id(each): each for each in handle.engine.model.parameters()}.values()
    measures = dict(scales(handle.engine.model))
    held = sum(each.numel() * each.element_size() for each in [*tensors, *measures.values()])
    assert held == pytest.approx(bytes_of_weights(handle.identity, dtype, bits), rel=0.1)


@needs_bitsandbytes
@both
def test_what_hf_hands_out_is_the_quantized_model_and_a_change_of_a_scale_is_seen(model, bits):
    handle = quantized(model, bits)
    hf = handle.hf
    assert {torch.int8, torch.uint8} & {each.dtype for each in hf.model.parameters()}
    score(handle, TEXTS)  # nothing was changed
    score(handle, ["Another text."], exact=True)
    next(scale for _, scale in scales(hf.model)).mul_(2)
    with pytest.raises(BadInput, match="was changed through"):
        score(handle, ["A third text."])


@needs_bitsandbytes
@both
def test_bitsandbytes_is_quiet(checkpoints, tmp_path, bits):
    code = f"""
        from workbench import generate, load, score
        model = load({str(checkpoints["bloom"])!r}, device="cpu", quantization={bits!r})
        generate(model, ["The cat"], max_new_tokens=3); score(model, ["The cat"])
    """
    environment = {
        "WORKBENCH_STORE": str(tmp_path / "store"),
        "WORKBENCH_SERVICE": "off",
        "PATH": "/usr/bin:/bin",
    }
    environment["PYTHONPATH"] = ":".join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_bitsandbytes
@both
def test_random_weights_are_quantized_too(model, bits):
    twin = quantized(model, bits, random_seed=0)
    assert hidden_states(twin, TEXTS).array.shape == hidden_states(model, TEXTS).array.shape
    again = quantized(model, bits, Store(model.store.path.with_name("other")), random_seed=0)
    assert generate(again, TEXTS, max_new_tokens=4) == generate(twin, TEXTS, max_new_tokens=4)
    assert {torch.int8, torch.uint8} & {each.dtype for each in twin.hf.model.parameters()}


@needs_bitsandbytes
@both
def test_another_architecture_is_quantized_by_transformers_own_forward(checkpoints, store, tmp_path, bits):
    GPT2LMHeadModel(
        GPT2Config(vocab_size=400, n_positions=64, n_embd=64, n_layer=1, n_head=2)
    ).save_pretrained(tmp_path)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(checkpoints["bloom"] / file, tmp_path / file)
    handle = load(str(tmp_path), store=store, quantization=bits, device="cpu")
    assert len(rank(handle, ITEMS, protocol="per-token-bloom", progress=False)) == len(ITEMS)


@needs_bitsandbytes
@both
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_damaged_weights_are_refused_although_integers_hide_them(checkpoints, store, tmp_path, bits, value):
    shutil.copytree(checkpoints["bloom"], tmp_path / "copy")
    tensors = load_file(tmp_path / "copy/model.safetensors")
    tensors["transformer.h.0.mlp.dense_h_to_4h.weight"][3, 5] = value
    save_file(tensors, tmp_path / "copy/model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadInput, match=r"dense_h_to_4h"):
        score(load(str(tmp_path / "copy"), quantization=bits, device="cpu", store=store), TEXTS)


@needs_bitsandbytes
def test_weights_that_are_quantized_already_are_loaded_as_they_are(checkpoints, store, tmp_path):
    done = AutoModelForCausalLM.from_pretrained(
        checkpoints["bloom"], quantization_config=settings("8bit", torch.float32), device_map={"": "cpu"}
    )
    done.save_pretrained(tmp_path)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(checkpoints["bloom"] / file, tmp_path / file)
    here = load(str(checkpoints["bloom"]), quantization="8bit", device="cpu", store=store)
    there = load(str(tmp_path), device="cpu", store=store)
    assert np.allclose(
        flat(rank(here, ITEMS, progress=False)), flat(rank(there, ITEMS, progress=False)), atol=1e-3
    )
    with pytest.raises(BadInput, match="are quantized already"):
        score(load(str(tmp_path), quantization="4bit", device="cpu", store=store), TEXTS)


def test_what_cannot_be_is_refused_in_a_sentence(model, tmp_path, monkeypatch):
    with pytest.raises(BadInput, match="no quantization 'int8'; it has: 8bit, 4bit"):
        load(model.name, quantization="int8")
    with pytest.raises(BadInput, match="no quantization"):
        load(model.name, quantization=["8bit"])
    assert load(model.name, quantization="").precision == "float32"  # as a notebook's parameter may be
    with pytest.raises(BadInput, match="loaded in 8bit float32; finetuning needs"):
        finetune(quantized(model, "8bit"), None, tmp_path / "out", None)
    if model.is_encoder_decoder:
        with pytest.raises(BadInput, match="overflow when they compute in float16"):
            quantized(model, "8bit", dtype="float16")
    monkeypatch.setattr("workbench.engines.transformers.quantized.find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"pip install 'workbench\[quantized\]'"):
        score(quantized(model, "8bit"), TEXTS)


@needs_bitsandbytes
def test_the_users_own_logging_is_left_alone_but_for_bitsandbytes(model):
    before = logging.getLogger("transformers").level, logging.getLogger().level
    score(quantized(model, "8bit"), TEXTS)
    assert (logging.getLogger("transformers").level, logging.getLogger().level) == before


@needs_bitsandbytes
def test_the_command_line_quantizes(tmp_path, checkpoints):
    command = [
        sys.executable,
        "-m",
        "workbench.cli",
        "generate",
        str(checkpoints["mt5"]),
        "The cat",
        "--quantization",
        "4bit",
    ]
    environment = {
        "WORKBENCH_STORE": str(tmp_path / "store"),
        "WORKBENCH_SERVICE": "off",
        "PYTHONPATH": ":".join(filter(None, sys.path)),
    }
    done = subprocess.run(
        [*command, "--max-new-tokens", "3", "--json"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    [answer] = json.loads(done.stdout)
    handle = load(str(checkpoints["mt5"]), quantization="4bit", store=Store(tmp_path / "store"))
    assert generate(handle, ["The cat"], max_new_tokens=3)[0].text == answer["text"]
    assert handle.tally.misses == 0


def test_the_openai_protocol_names_dtype_and_quantization():
    asked = wanted_by_name("mini-bloomz:bfloat16:8bit")
    assert (asked.name, asked.dtype, asked.quantization) == ("mini-bloomz", "bfloat16", "8bit")
    assert wanted_by_name("mini-bloomz:4bit").options["quantization"].startswith("4bit")
    assert wanted_by_name("mini-bloomz").key != wanted_by_name("mini-bloomz:8bit").key
