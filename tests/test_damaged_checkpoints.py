"""Folders that are damaged, incomplete or put together wrongly: each loads right or ends in one sentence.

Most of them make transformers answer from random numbers without a word, or raise whatever a file leads it to.
"""

import json
import math
import os
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig

from workbench.cli import main
from workbench.engines.transformers.convert import to_safetensors
from workbench.errors import BadInput
from workbench.inference.generation import generate
from workbench.models import load

PROMPTS = ["The cat sat on the mat."]
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 1118459450\n"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


def answers(folder, store, **options):
    return generate(load(folder, device="cpu", store=store, **options), PROMPTS, max_new_tokens=4)


@pytest.fixture(params=["bloom", "mt5"])
def folder(request, checkpoints, tmp_path):
    """A copy of each architecture's checkpoint in turn, to be damaged."""
    return shutil.copytree(checkpoints[request.param], tmp_path / request.param)


def rename(change):
    def damage(folder):
        tensors = load_file(folder / WEIGHTS)
        save_file(
            {change(name): value for name, value in tensors.items()}, folder / WEIGHTS, {"format": "pt"}
        )

    return damage


def drop(*parts):
    def damage(folder):
        tensors = load_file(folder / WEIGHTS)
        kept = {name: value for name, value in tensors.items() if not any(part in name for part in parts)}
        assert len(kept) < len(tensors)
        save_file(kept, folder / WEIGHTS, {"format": "pt"})

    return damage


def fill(value):
    def damage(folder):
        tensors = load_file(folder / WEIGHTS)
        name = next(name for name in tensors if "norm.weight" in name or "ln_f.weight" in name)
        tensors[name][0] = value
        save_file(tensors, folder / WEIGHTS, {"format": "pt"})

    return damage


def edit(name, **fields):
    def damage(folder):
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**content, **fields}))

    return damage


def configure(**fields):
    return edit("config.json", **fields)


def layers(count):
    return configure(n_layer=count, num_hidden_layers=count, num_layers=count, num_decoder_layers=count)


def write(name, content):
    return lambda folder: (folder / name).write_bytes(
        content.encode() if isinstance(content, str) else content
    )


def remove(*names):
    return lambda folder: [(folder / name).unlink(missing_ok=True) for name in names]


def cut(part):
    def damage(folder):
        raw = (folder / WEIGHTS).read_bytes()
        (folder / WEIGHTS).write_bytes(raw[: int(len(raw) * part)])

    return damage


def shard(folder):
    """Split the weights over two files with an index, as large checkpoints of the hub are."""
    tensors = load_file(folder / WEIGHTS)
    names = sorted(tensors)
    files = {f"model-0000{part + 1}-of-00002.safetensors": names[part::2] for part in (0, 1)}
    for file, part in files.items():
        save_file({name: tensors[name] for name in part}, folder / file, {"format": "pt"})
    placed = {name: file for file, part in files.items() for name in part}
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": placed}))
    (folder / WEIGHTS).unlink()


def after_sharding(damage):
    return lambda folder: (shard(folder), damage(folder))


def foreign_config(folder):
    BertConfig(vocab_size=400, hidden_size=32, num_hidden_layers=2, num_attention_heads=4).save_pretrained(
        folder
    )


BOTH = {
    "compiled": (rename("_orig_mod.{}".format), r"named _orig_mod\.….*torch\.compile.*save `model\._orig_mod`"),
    "data parallel": (rename("module.{}".format), r"named module\.….*DataParallel.*save `model\.module`"),
    "peft": (rename("base_model.model.{}".format), r"named base_model\.model\.….*merge_and_unload"),
    "another wrapper": (rename("student.{}".format), r"named student\.….*save the inner one"),
    "more layers than the file": (layers(3), r"missing: \S+"),
    "fewer layers than the file": (layers(1), r"not in the model: \S+"),
    "another width": (configure(hidden_size=64, d_model=64), r"of another shape: \S+ \(.*32.* in the file, .*64.* in the model"),
    "another vocabulary": (configure(vocab_size=800), r"of another shape: .*\(400×32 in the file, 800×32 in the model\)"),
    "a BERT's config": (foreign_config, r"missing: .*not in the model: "),
    "a masked model": (configure(architectures=["BertForMaskedLM"]), "masked language model"),
    "NaN": (fill(math.nan), "1 tensor in .* with NaN or infinity: .*norm|ln_f"),
    "infinity": (fill(math.inf), "NaN or infinity"),
    "a pointer for weights": (write(WEIGHTS, POINTER), "git-LFS pointer.*git lfs pull"),
    "a pointer for the tokenizer": (write("tokenizer.json", POINTER), "git-LFS pointer"),
    "empty weights": (write(WEIGHTS, b""), "model.safetensors is empty"),
    "weights cut in the header": (cut(0.01), "damaged or incomplete"),
    "weights cut at the end": (cut(0.9), "damaged or incomplete"),
    "noise for weights": (write(WEIGHTS, b"\xff" * 5000), "damaged or incomplete"),
    "no weights": (remove(WEIGHTS), "lacks model.safetensors"),
    "half an index": (after_sharding(lambda f: (f / INDEX).write_text((f / INDEX).read_text()[:200])), "index.json is not a JSON object"),
    "an index of nothing": (after_sharding(write(INDEX, "{}")), "lists no weight files"),
    "an index that leads out": (after_sharding(write(INDEX, '{"weight_map": {"a": "../x.safetensors"}}')), "lists no weight files"),
    "a missing shard": (after_sharding(remove("model-00002-of-00002.safetensors")), "lacks model-00002-of-00002.safetensors"),
    "a damaged shard": (after_sharding(write("model-00002-of-00002.safetensors", b"12345678{}")), "model-00002.* damaged"),
    "no tokenizer": (remove("tokenizer.json", "tokenizer_config.json"), "lacks a tokenizer"),
    "no vocabulary": (remove("tokenizer.json"), "lacks a tokenizer"),
    "half a tokenizer": (write("tokenizer.json", '{"version": "1.0", "model": {"type": "BPE"}}'), "the tokenizer in .* cannot be loaded by transformers"),
    "a config in latin-1": (write("config.json", '{"model_type": "é"}'.encode("latin-1")), "config.json is not a JSON object in UTF-8"),
    "half a config": (write("config.json", '{"model_type": '), "config.json is not a JSON object"),
    "a list for a config": (write("config.json", "[1]"), "config.json is not a JSON object.*list"),
    "a deep config": (write("config.json", "[" * 100_000), "config.json is not a JSON object"),
    "an empty config": (write("config.json", ""), "config.json is empty"),
    "a config without a type": (write("config.json", "{}"), "cannot be loaded"),
    "an unknown type": (configure(model_type="bloomier"), "cannot be loaded.*bloomier"),
    "text for a number": (configure(n_layer="two", num_layers="two"), "cannot be loaded.*(n|num)_layers?'.*int"),
    "code from others": (
        configure(model_type="own", auto_map={"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}),
        "cannot be loaded",
    ),
    "quantized without the library": (configure(quantization_config={"quant_method": "gptq", "bits": 4}), "cannot be loaded"),
    "a length that is none": (edit("tokenizer_config.json", model_max_length=[128]), r"the tokenizer in .* model_max_length is \[128\], but must be a number"),
    "no end token's number": (edit("generation_config.json", eos_token_id=[None]), r"the model in .* eos_token_id is \[None\], but must be a number"),
    "a word for an end token": (edit("generation_config.json", eos_token_id="</s>"), "eos_token_id is '</s>', but must be a number"),
    "other weights named": (configure(transformers_weights="other.safetensors"), "transformers_weights"),
    "an adapter beside": (write("adapter_config.json", "{}"), "merge_and_unload"),
}  # fmt: skip

ONE = {
    ("bloom", "a block"): (drop("h.1."), r"12 tensors missing: transformer\.h\.1\.\S+, \S+, \S+ and 9 more"),
    ("bloom", "the last norm"): (drop("ln_f"), r"2 tensors missing: transformer\.ln_f\.bias, transformer\.ln_f\.weight"),
    ("bloom", "the embedding"): (drop("word_embeddings.weight", "lm_head"), r"missing: .*word_embeddings\.weight"),
    ("mt5", "the head"): (drop("lm_head"), r"no lm_head\.weight, which mt5 does not share"),
    ("mt5", "a decoder block"): (drop("decoder.block.1."), r"missing: decoder\.block\.1"),
    ("mt5", "the embedding"): (drop("shared", "embed_tokens", "lm_head"), r"missing: .*(shared|embed_tokens)\.weight"),
    ("mt5", "an encoder norm"): (drop("encoder.final_layer_norm"), r"1 tensor missing: encoder\.final_layer_norm\.weight"),
}  # fmt: skip


@pytest.mark.parametrize("case", BOTH)
def test_a_damaged_folder_ends_in_one_sentence_that_names_the_fault(case, folder, store):
    damage, expected = BOTH[case]
    damage(folder)
    with pytest.raises(BadInput, match=rf"(?s){expected}") as caught:
        answers(folder, store)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    assert store.contexts() == []


@pytest.mark.parametrize("case", ONE, ids=" without ".join)
def test_a_missing_part_is_named_and_never_drawn_at_random(case, checkpoints, tmp_path, store):
    damage, expected = ONE[case]
    folder = shutil.copytree(checkpoints[case[0]], tmp_path / "copy")
    damage(folder)
    with pytest.raises(BadInput, match=expected):
        answers(folder, store)


def without_base_prefix(folder):
    rename(lambda name: name.removeprefix("transformer."))(folder)


def with_tied_head(folder):
    tensors = load_file(folder / WEIGHTS)
    source = next((tensors[name] for name in tensors if name.endswith("word_embeddings.weight")), None)
    if source is not None:
        save_file({**tensors, "lm_head.weight": source.clone()}, folder / WEIGHTS, {"format": "pt"})


def both_shards_and_single(folder):
    """The single file is what transformers reads; the shards hold other numbers."""
    whole = (folder / WEIGHTS).read_bytes()
    fill(5.0)(folder)
    shard(folder)
    (folder / WEIGHTS).write_bytes(whole)


RIGHT = {
    "untouched": lambda folder: None,
    "shards": shard,
    "shards and a single file": both_shards_and_single,
    "keys without the base's prefix": without_base_prefix,
    "a tied head written out": with_tied_head,
    "a .bin beside": write("pytorch_model.bin", b"no pickle"),
    "no generation_config": remove("generation_config.json"),
    "fields of another version": configure(transformers_version="4.20.0", slow_but_exact=False, unheard_of=1),
    "a training's leftovers": write("trainer_state.json", "{"),
    "an old buffer": lambda folder: _add(folder, "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight")
    if folder.name == "mt5"
    else None,
}  # fmt: skip


def _add(folder, name):
    tensors = load_file(folder / WEIGHTS)
    save_file({**tensors, name: torch.zeros(32, 4)}, folder / WEIGHTS, {"format": "pt"})


@pytest.mark.parametrize("case", RIGHT)
def test_a_folder_that_only_looks_odd_answers_as_the_untouched_one(case, folder, checkpoints, store):
    RIGHT[case](folder)
    assert answers(folder, store) == answers(checkpoints[folder.name], store)


def test_the_digest_covers_the_file_that_is_loaded(folder, store):
    """With an index beside a single file transformers reads the single file. Twin: the shards change nothing."""
    both_shards_and_single(folder)
    before = load(folder, store=store).identity.weights
    (folder / "model-00001-of-00002.safetensors").write_bytes(b"never read")
    assert load(folder, store=store).identity.weights == before
    fill(2.0)(folder)
    assert load(folder, store=store).identity.weights != before


@pytest.mark.parametrize("name", ["tokenizer.json", "spiece.model", "vocab.txt", "source.spm", "target.spm", "added_tokens.json"])  # fmt: skip
def test_whatever_the_tokenizer_is_made_from_is_in_its_digest(name, folder, store):
    before = load(folder, store=store).identity
    with (folder / name).open("ab") as file:
        file.write(b" ")
    after = load(folder, store=store).identity
    assert (before.weights == after.weights, before.tokenizer == after.tokenizer) == (True, False)


def test_replaced_weights_are_not_stored_under_the_digest_of_the_old(folder, store):
    """A handle that knew its digest took the new weights, and their answers were the old model's for ever."""
    handle = load(folder, device="cpu", store=store)
    before = handle.identity.weights
    fill(3.0)(folder)
    with pytest.raises(BadInput, match=r"model\.safetensors in .* changed after .* load it again"):
        generate(handle, PROMPTS, max_new_tokens=4)
    assert store.contexts() == []
    assert load(folder, store=store).identity.weights != before


def test_a_random_twin_of_a_changed_configuration_is_not_stored_under_the_old_digest(folder, store):
    handle = load(folder, device="cpu", store=store, random_seed=0)
    generate(handle, PROMPTS, max_new_tokens=4)
    configure(layer_norm_epsilon=0.5)(folder)
    with pytest.raises(BadInput, match=r"config\.json in .* changed after"):
        generate(handle, ["Another prompt."], max_new_tokens=4)


def test_weights_written_in_place_under_a_loaded_model_are_noticed(folder, store):
    """They are mapped into memory: the loaded model changes with its file. Twin: a copy in its place changes nothing."""
    handle = load(folder, device="cpu", store=store)
    generate(handle, PROMPTS, max_new_tokens=4)
    whole = (folder / WEIGHTS).read_bytes()
    (folder / "aside").write_bytes(whole)
    (folder / "aside").replace(folder / WEIGHTS)
    generate(handle, ["Another prompt."], max_new_tokens=4)
    with (folder / WEIGHTS).open("r+b") as file:
        file.seek(len(whole) // 2)
        file.write(bytes(len(whole) // 2))
    with pytest.raises(BadInput, match="changed after"):
        generate(handle, ["A third prompt."], max_new_tokens=4)


@pytest.mark.parametrize("how", ["in place", "another file"])
def test_other_weights_of_the_same_size_and_time_are_another_model(how, folder, store, monkeypatch):
    """As `cp -p` and `rsync -a` leave them."""
    path = folder / WEIGHTS
    os.utime(path, ns=(10**18, 10**18))
    monkeypatch.setattr("workbench.models.digests._COARSEST_CLOCK", -1)  # remembered at once
    before = load(folder, store=store).identity.weights
    kept = path.stat()
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    target = path if how == "in place" else folder / "aside"
    target.write_bytes(raw)
    os.utime(target, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    target.replace(path)
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns) == (kept.st_size, kept.st_mtime_ns)
    assert load(folder, store=store).identity.weights != before


def test_a_files_digest_is_computed_once_it_has_stood_still(folder, store, monkeypatch):
    """Gigabytes are read once; a file younger than the coarsest clock's step is read again. Twin: fresh files are."""
    computed = []
    monkeypatch.setattr("workbench.models.digests.file_digest", lambda *a: computed.append(a) or digest(*a))
    digest = __import__("hashlib").file_digest
    load(folder, store=store).identity  # noqa: B018
    first = len(computed)
    load(folder, store=store).identity  # noqa: B018
    assert len(computed) == 2 * first
    monkeypatch.setattr("workbench.models.digests._COARSEST_CLOCK", -1)
    for _ in range(2):
        load(folder, store=store).identity  # noqa: B018
    assert len(computed) == 3 * first


@pytest.mark.parametrize(
    ("device", "expected"), [("mps", "no Apple GPU"), ("cuda:63", "torch sees .*GPU"), ("cuda", None)]
)
def test_a_device_that_is_not_here_is_named(device, expected, folder, store):
    if expected is None and torch.cuda.is_available():
        pytest.skip("a GPU is here")
    with pytest.raises(BadInput, match=expected or "torch sees no GPU"):
        generate(load(folder, device=device, store=store), PROMPTS, max_new_tokens=4)


def damaged_bins(folder):
    state = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    return {
        "pointer": (lambda path: path.write_text(POINTER), "git-LFS pointer"),
        "empty": (lambda path: path.write_bytes(b""), "is empty"),
        "cut": (lambda path: (torch.save(state, path), path.write_bytes(path.read_bytes()[:5000])), "or is damaged"),
        "nested": (lambda path: torch.save({"state_dict": state, "epoch": 3}, path), "does not hold a table of tensors"),
    }  # fmt: skip


@pytest.mark.parametrize("case", ["pointer", "empty", "cut", "nested"])
def test_a_damaged_bin_is_refused_and_leaves_nothing_behind(case, folder, tmp_path):
    damage, expected = damaged_bins(folder)[case]
    damage(folder / "pytorch_model.bin")
    with pytest.raises(BadInput, match=expected):
        to_safetensors(str(folder), tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {folder.name}


def test_a_missing_shard_of_bins_is_named(folder, tmp_path):
    (folder / WEIGHTS).unlink()
    (folder / "pytorch_model.bin.index.json").write_text('{"weight_map": {"a": "one.bin", "b": "two.bin"}}')
    with pytest.raises(BadInput, match=r"has no one\.bin, two\.bin to convert"):
        to_safetensors(str(folder), tmp_path / "out")


@pytest.mark.parametrize("case", ["compiled", "weights cut at the end", "no tokenizer", "half a tokenizer", "a list for a config"])  # fmt: skip
def test_the_command_line_says_the_same_sentence_and_exits_with_2(case, folder, store, monkeypatch, capfd):
    BOTH[case][0](folder)
    monkeypatch.setenv("WORKBENCH_STORE", str(store.path))
    monkeypatch.setattr("sys.argv", ["workbench", "generate", str(folder), "Hello.", "--device", "cpu"])
    with pytest.raises(SystemExit) as ended:
        main()
    out, error = capfd.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert error.startswith("error: ")
    assert error.count("\n") == 1
