"""Names become handles; identities are digests of content; what cannot be loaded says why."""

import json
import shutil
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, GPT2Config, GPT2LMHeadModel
from transformers.activations import NewGELUActivation
from transformers.models.bloom.modeling_bloom import bloom_gelu_forward

from workbench.engines.transformers.convert import to_safetensors
from workbench.engines.transformers.placement import stays_in_place
from workbench.errors import BadInput, NotReachable, UnknownName
from workbench.inference.generation import generate
from workbench.models import load
from workbench.store import Store

PROMPTS = ["The cat sat on the mat."]


def test_a_wrong_name_lists_the_nearest(store):
    with pytest.raises(UnknownName, match=r"mt0-huge.*mt0-"):
        load("mt0-huge", store=store)


@pytest.mark.parametrize("wrong", [{"dtype": "float8"}, {"device": "gpu7"}])
def test_wrong_settings_are_refused_before_anything_is_read(wrong, checkpoints, store):
    with pytest.raises(BadInput, match=next(iter(wrong.values()))):
        load(str(checkpoints["bloom"]), store=store, **wrong)


def test_a_handle_reads_no_weights_and_imports_no_torch(checkpoints, tmp_path):
    code = (
        "import sys; from workbench import load; from workbench.store import Store;"
        f"m = load({str(checkpoints['mt5'])!r}, store=Store({str(tmp_path / 's.sqlite')!r}));"
        "assert m.is_encoder_decoder and m.identity.context_length == 128; assert 'torch' not in sys.modules;"
        "m.engine; assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_copy_elsewhere_is_the_same_model_and_one_changed_weight_is_another(checkpoints, store, tmp_path):
    same, other = tmp_path / "same", tmp_path / "other"
    shutil.copytree(checkpoints["bloom"], same)
    shutil.copytree(checkpoints["bloom"], other)
    raw = bytearray((other / "model.safetensors").read_bytes())
    raw[-1] ^= 1
    (other / "model.safetensors").write_bytes(raw)
    first = load(str(checkpoints["bloom"]), store=store).identity
    assert load(str(same), store=store).identity.weights == first.weights
    assert load(str(other), store=store).identity.weights != first.weights
    assert load(str(other), store=store).identity.tokenizer == first.tokenizer


@pytest.mark.parametrize("file", ["config.json", "generation_config.json"])
def test_settings_are_part_of_the_model_and_the_tokenizer_stands_apart(file, checkpoints, store, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(checkpoints["mt5"], copy)
    before = load(str(copy), store=store).identity
    (copy / file).write_text(json.dumps({**json.loads((copy / file).read_text()), "note": 1}))
    after = load(str(copy), store=store).identity
    assert (before.weights == after.weights, before.tokenizer == after.tokenizer) == (False, True)
    (copy / "tokenizer_config.json").write_text("{}")
    assert load(str(copy), store=store).identity.tokenizer != after.tokenizer


def test_the_hubs_cache_is_used_without_a_network_and_equals_the_folder(
    checkpoints, store, hub_cache, fill_hub_cache
):
    fill_hub_cache(checkpoints["bloom"], "bigscience/bloomz-560m")
    cached = load("bloomz-560m", store=store, device="cpu")
    local = load(str(checkpoints["bloom"]), store=store, device="cpu")
    assert cached.identity.commit == "c" * 40
    assert cached.identity.weights == local.identity.weights
    assert generate(cached, PROMPTS, max_new_tokens=5) == generate(local, PROMPTS, max_new_tokens=5)
    assert local.tally.hits == 1


def test_answers_are_found_when_the_weights_are_gone(checkpoints, store, hub_cache, fill_hub_cache):
    root = fill_hub_cache(checkpoints["bloom"], "bigscience/bloomz-560m")
    first = generate(load("bloomz-560m", store=store, device="cpu"), PROMPTS, max_new_tokens=5)
    shutil.rmtree(root)
    again = load("bloomz-560m", store=store, device="cpu")
    assert generate(again, PROMPTS, max_new_tokens=5) == first
    with pytest.raises(NotReachable):
        generate(again, ["Another prompt."], max_new_tokens=5)


def test_without_cache_and_network_it_fails_within_seconds_and_says_what_to_do(store, hub_cache, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    started = time.monotonic()
    with pytest.raises(NotReachable, match=r"workbench fetch bloomz-560m.*work offline: mini-bloom"):
        generate(load("bloomz-560m", store=store), PROMPTS, max_new_tokens=5)
    assert time.monotonic() - started < 30  # on a busy machine


def test_an_interrupted_download_is_not_taken_for_a_model(checkpoints, store, hub_cache, fill_hub_cache):
    root = fill_hub_cache(checkpoints["bloom"], "bigscience/bloomz-560m")
    (root / "snapshots" / ("c" * 40) / "model.safetensors").unlink()
    with pytest.raises(NotReachable):
        generate(load("bloomz-560m", store=store), PROMPTS, max_new_tokens=5)


def test_a_revision_of_a_folder_is_refused(checkpoints, store):
    with pytest.raises(BadInput, match="no revisions"):
        load(str(checkpoints["bloom"]), revision="main", store=store)


def test_weights_only_as_bin_are_refused_and_the_converted_copy_answers_the_same(
    checkpoints, store, tmp_path
):
    for side, kind in (("bloom", AutoModelForCausalLM), ("mt5", AutoModelForSeq2SeqLM)):
        old, new = tmp_path / f"{side}-bin", tmp_path / f"{side}-new"
        shutil.copytree(checkpoints[side], old)
        state = kind.from_pretrained(old).state_dict()
        torch.save(state, old / "pytorch_model.bin")
        (old / "model.safetensors").unlink()
        with pytest.raises(BadInput, match=r"convert .*--to safetensors"):
            generate(load(str(old), store=store), PROMPTS, max_new_tokens=5)
        to_safetensors(str(old), new)
        answers = [
            generate(load(str(f), store=store), PROMPTS, max_new_tokens=5) for f in (new, checkpoints[side])
        ]
        assert answers[0] == answers[1]


def test_a_bin_that_runs_code_is_refused(checkpoints, tmp_path):
    folder = tmp_path / "evil"
    shutil.copytree(checkpoints["bloom"], folder)
    (folder / "model.safetensors").unlink()
    marker = tmp_path / "ran"
    (folder / "pytorch_model.bin").write_bytes(f"cbuiltins\nexec\n(Vopen({str(marker)!r}, 'w')\ntR.".encode())
    with pytest.raises(BadInput, match="more than tensors"):
        to_safetensors(str(folder), tmp_path / "out")
    assert not marker.exists()
    assert not (tmp_path / "out").exists()


def test_float16_is_refused_where_it_overflows_and_taken_where_not(checkpoints, store):
    with pytest.raises(BadInput, match="bfloat16 or float32"):
        generate(load(str(checkpoints["mt5"]), dtype="float16", store=store), PROMPTS, max_new_tokens=3)
    assert generate(load(str(checkpoints["bloom"]), dtype="float16", store=store), PROMPTS, max_new_tokens=3)


def test_float16_files_are_cast_to_what_is_computed_in(checkpoints, store, tmp_path):
    half = AutoModelForSeq2SeqLM.from_pretrained(checkpoints["mt5"], dtype=torch.float16)
    half.save_pretrained(tmp_path / "half")
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(checkpoints["mt5"] / file, tmp_path / "half" / file)
    handle = load(str(tmp_path / "half"), store=store)
    generate(handle, PROMPTS, max_new_tokens=3)
    assert {p.dtype for p in handle.hf.model.parameters()} == {torch.float32}


def test_an_own_head_of_an_mt5_is_the_one_that_is_loaded(checkpoints, store):
    model = load(str(checkpoints["mt5"]), store=store).hf.model
    assert not torch.equal(model.lm_head.weight, model.shared.weight)


def test_another_causal_checkpoint_answers_too(checkpoints, store, tmp_path):
    """GPT-2 stands for XGLM and others: absolute positions, and no logits of chosen positions."""
    folder = tmp_path / "gpt2"
    GPT2LMHeadModel(
        GPT2Config(vocab_size=400, n_positions=64, n_embd=32, n_layer=1, n_head=2)
    ).save_pretrained(folder)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(checkpoints["bloom"] / file, folder / file)
    assert len(generate(load(str(folder), store=store), PROMPTS, max_new_tokens=3)) == 1


def test_random_weights_are_another_model_and_the_same_each_time(checkpoints, store):
    path = str(checkpoints["bloom"])
    twins = [load(path, random_seed=seed, store=store) for seed in (0, 1)]
    assert len({twin.identity.weights for twin in [*twins, load(path, store=store)]}) == 3
    again = load(path, random_seed=0, store=Store(store.path.with_name("other.sqlite")))
    assert generate(again, PROMPTS, max_new_tokens=5) == generate(twins[0], PROMPTS, max_new_tokens=5)


@pytest.mark.parametrize(
    ("placed", "stays"),
    [({"": "cpu"}, True), ({"a": 0, "b": 1}, True), ({"a": 0, "b": "cpu"}, False), ({"a": "disk"}, False)],
)
def test_offloaded_weights_are_left_to_transformers_own_forward(placed, stays):
    """accelerate brings them back for a module's own call only."""
    assert stays_in_place(SimpleNamespace(hf_device_map=placed)) is stays


def test_the_fused_activation_is_the_same_function(checkpoints, store):
    """Twin: another form of GELU is not."""
    x = torch.linspace(-6, 6, 1001)
    for side, find in (
        ("bloom", lambda model: (model.transformer.h[0].mlp.gelu_impl, bloom_gelu_forward)),
        ("mt5", lambda model: (model.encoder.block[0].layer[1].DenseReluDense.act, NewGELUActivation())),
    ):
        fused, original = find(load(str(checkpoints[side]), store=store, device="cpu").hf.model)
        assert isinstance(fused, torch.nn.GELU)
        torch.testing.assert_close(fused(x), original(x), rtol=0, atol=2e-6)
        assert (torch.nn.functional.gelu(x) - original(x)).abs().max() > 1e-4
