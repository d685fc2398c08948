"""Each of the 28 checkpoints in the layout that the hub has it in, loaded from a filled cache without a network.

Sizes are shrunk and weights are random; the names, dtypes and files are those of the hub. Known, from the catalogue,
the model cards and the configurations: architecture, dtype of the files, more rows in the embedding than tokens
(250,880 for 250,680; 250,112 for 250,100), heads that do not divide the width (mt5-small: 6 × 64 over 512), heads that are
no power of two (176B: 112), mt0-xl in two files, mt0-xxl in six, T5's tokenizer class and BLOOM's, special tokens.
Inferred: that BLOOM's tensors have no `transformer.` before their names and no head of their own; that files of more than
10 GB are cut into as many as that takes (72 for 176B); that google/mt5-* have only .bin and only spiece.model, with a head
of its own and the embedding under three names; that mT0 has tokenizer.json beside spiece.model; `extra_ids: 0`;
which repositories have a generation_config.json; that transformers 4 wrote the configurations.
"""

import io
import json
import math

import pytest
import sentencepiece
import torch
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, BloomConfig, BloomForCausalLM, MT5Config, MT5ForConditionalGeneration

from workbench.engines.transformers.convert import to_safetensors
from workbench.errors import BadInput
from workbench.family import checkpoints as family
from workbench.inference.generation import generate
from workbench.inference.ranking import rank
from workbench.models import load
from workbench.tasks import Item

TEXTS = ["Translate to English: Je t'aime. I love you.", "Le chat est assis, n'est-ce pas ?", "猫坐在垫子上。你好吗？", "Paka ameketi juu ya mkeka."]  # fmt: skip
PROMPT = "Translate to English: Je t'aime."
ITEM = Item("1", PROMPT, ("I love you.", "Le chat"), 0)
DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
STATED_FILES = {"mt0-xl": 2, "mt0-xxl": 6, "mt0-xxl-mt": 6, "mt0-xxl-p3": 6}


@pytest.fixture(scope="session")
def bloom_tokenizer():
    tokenizer = Tokenizer(models.BPE())
    words = Regex(" ?[^(\\s|[.,!?…。，、।۔،])]+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(words, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(TEXTS, trainers.BpeTrainer(
        vocab_size=320, special_tokens=["<unk>", "<s>", "</s>", "<pad>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    ))  # fmt: skip
    return tokenizer.to_str()


@pytest.fixture(scope="session")
def spiece():
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS * 5), model_writer=model, vocab_size=120, hard_vocab_limit=False, pad_id=0, eos_id=1,
        unk_id=2, bos_id=-1, normalization_rule_name="nmt_nfkc", character_coverage=1.0, num_threads=1, minloglevel=2,
    )  # fmt: skip
    return model.getvalue()


def write_json(folder, name, content):
    (folder / name).write_text(json.dumps(content, indent=2))


def random_bloom(checkpoint, rows):
    many = checkpoint.name in ("bloom", "bloomz", "bloomz-mt", "bloomz-p3")
    width, heads, layers = (48, 6, 6) if many else (32, 4, 2)
    model = BloomForCausalLM(
        BloomConfig(vocab_size=rows, hidden_size=width, n_layer=layers, n_head=heads, initializer_range=0.3)
    )
    config = {
        "architectures": ["BloomForCausalLM"], "model_type": "bloom", "n_embed": width, "n_layer": layers, "n_inner": None,
        "num_attention_heads": heads, "vocab_size": rows, "seq_length": 2048, "apply_residual_connection_post_layernorm": False,
        "attention_dropout": 0.0, "attention_softmax_in_fp32": True, "bias_dropout_fusion": True, "hidden_dropout": 0.0,
        "initializer_range": 0.02, "layer_norm_epsilon": 1e-05, "masked_softmax_fusion": True, "offset_alibi": 100,
        "pretraining_tp": 2, "skip_bias_add": True, "skip_bias_add_qkv": False, "slow_but_exact": False, "unk_token_id": 0,
        "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3, "use_cache": True, "torch_dtype": checkpoint.precision,
        "transformers_version": "4.20.0",
    }  # fmt: skip
    tensors = {
        name.removeprefix("transformer."): value
        for name, value in model.state_dict().items()
        if name != "lm_head.weight"
    }
    return model, config, tensors


def random_mt5(checkpoint, rows):
    heads = 3 if checkpoint.name.endswith("small") else 4
    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": heads, "vocab_size": rows}
    model = MT5ForConditionalGeneration(MT5Config(**sizes))
    model.lm_head.weight = torch.nn.Parameter(torch.randn(rows, 32) * 0.3)
    config = {
        "architectures": ["MT5ForConditionalGeneration"], "model_type": "mt5", **sizes, "num_decoder_layers": 2,
        "decoder_start_token_id": 0, "dropout_rate": 0.1, "eos_token_id": 1, "feed_forward_proj": "gated-gelu",
        "initializer_factor": 1.0, "is_encoder_decoder": True, "layer_norm_epsilon": 1e-06, "output_past": True,
        "pad_token_id": 0, "relative_attention_num_buckets": 32, "tie_word_embeddings": False,
        "tokenizer_class": "T5Tokenizer", "use_cache": True, "transformers_version": "4.21.0",
    }  # fmt: skip
    return model, config, dict(model.state_dict())


def write_tokenizer(folder, checkpoint, bloom_tokenizer, spiece):
    """Write the files of the hub; returns how many tokens there are."""
    if not checkpoint.is_encoder_decoder:
        (folder / "tokenizer.json").write_text(bloom_tokenizer)
        special = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
        write_json(folder, "special_tokens_map.json", special)
        own = {
            "name_or_path": "bigscience/tokenizer",
            "tokenizer_class": "BloomTokenizerFast",
            "padding_side": "left",
        }
        write_json(folder, "tokenizer_config.json", {**special, **own, "special_tokens_map_file": None})
        return Tokenizer.from_str(bloom_tokenizer).get_vocab_size()
    (folder / "spiece.model").write_bytes(spiece)
    special = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    write_json(folder, "special_tokens_map.json", special)
    own = {
        "extra_ids": 0,
        "additional_special_tokens": None,
        "sp_model_kwargs": {},
        "tokenizer_class": "T5Tokenizer",
    }
    write_json(folder, "tokenizer_config.json", {**special, **own, "name_or_path": "google/mt5-small"})
    if checkpoint.name.startswith("mt0"):
        write_json(folder, "config.json", {"model_type": "mt5"})
        fast = AutoTokenizer.from_pretrained(folder)
        (folder / "tokenizer.json").write_text(fast.backend_tokenizer.to_str())
    return sentencepiece.SentencePieceProcessor(model_proto=spiece).vocab_size()


def write_weights(folder, checkpoint, tensors):
    """Write as many files as the hub has, .bin for google/mt5-* and safetensors else."""
    gigabytes = checkpoint.parameters * (4 if checkpoint.precision == "float32" else 2) / 1e9
    count = STATED_FILES.get(checkpoint.name, 72 if gigabytes > 300 else math.ceil(gigabytes / 10))
    pickled = checkpoint.name.startswith("mt5")
    stem, suffix = ("pytorch_model", "bin") if pickled else ("model", "safetensors")
    if not pickled:
        tensors = {name: value for name, value in tensors.items() if "embed_tokens" not in name}
    names = list(tensors)
    files = (
        [f"{stem}.{suffix}"]
        if count == 1
        else [f"{stem}-{n + 1:05}-of-{count:05}.{suffix}" for n in range(count)]
    )
    for number, file in enumerate(files):
        part = {name: tensors[name].contiguous() for name in names[number::count]}
        torch.save(part, folder / file) if pickled else save_file(part, folder / file, {"format": "pt"})
    if count > 1:
        placed = {name: files[number % count] for number, name in enumerate(names)}
        write_json(
            folder, f"{stem}.{suffix}.index.json", {"metadata": {"total_size": 1}, "weight_map": placed}
        )


def make(folder, checkpoint, bloom_tokenizer, spiece):
    """Write a checkpoint as the hub has it; returns the model that its files hold, in float32."""
    folder.mkdir()
    tokens = write_tokenizer(folder, checkpoint, bloom_tokenizer, spiece)
    torch.manual_seed(len(checkpoint.name))
    drawn = (
        random_mt5(checkpoint, tokens + 12)
        if checkpoint.is_encoder_decoder
        else random_bloom(checkpoint, tokens + 200)
    )
    model, config, tensors = drawn
    model.to(DTYPES[checkpoint.precision])
    write_weights(
        folder, checkpoint, {name: value.to(DTYPES[checkpoint.precision]) for name, value in tensors.items()}
    )
    write_json(folder, "config.json", config)
    if checkpoint.mixture == "none" or checkpoint.is_encoder_decoder:
        ids = {name: config[name] for name in config if name.endswith("_token_id") and name != "unk_token_id"}
        write_json(
            folder,
            "generation_config.json",
            {"_from_model_config": True, **ids, "transformers_version": "4.27.0"},
        )
    return model.float().eval()


def ids_of(checkpoint, text, bloom_tokenizer, spiece, *, end=False):
    """Token ids by the tokenizers' own libraries."""
    if checkpoint.is_encoder_decoder:
        return sentencepiece.SentencePieceProcessor(model_proto=spiece).encode(text) + [1] * end
    return Tokenizer.from_str(bloom_tokenizer).encode(text).ids


def reference_score(model, checkpoint, choice, ids):
    """The published rule, spelled out: log p of the choice, with the end token on the mT5 side, a space before on BLOOM's."""
    with torch.inference_mode():
        if checkpoint.is_encoder_decoder:
            target = ids(choice, end=True)
            logits = model(
                input_ids=torch.tensor([ids(PROMPT)]), decoder_input_ids=torch.tensor([[0, *target[:-1]]])
            ).logits[0]
        else:
            target = ids(" " + choice)
            logits = model(input_ids=torch.tensor([ids(PROMPT) + target])).logits[0, -len(target) - 1 : -1]
    return torch.log_softmax(logits, -1)[range(len(target)), target].sum().item()


def reference_ids(model, checkpoint, ids):
    prompt = ids(PROMPT, end=True)
    with torch.inference_mode():
        found = model.generate(torch.tensor([prompt]), max_new_tokens=6, do_sample=False, pad_token_id=0)[
            0
        ].tolist()
    return found[1:] if checkpoint.is_encoder_decoder else found[len(prompt) :]


@pytest.mark.parametrize("checkpoint", family(), ids=lambda checkpoint: checkpoint.name)
def test_a_checkpoint_laid_out_as_on_the_hub_loads_generates_and_ranks(
    checkpoint, bloom_tokenizer, spiece, fill_hub_cache, tmp_path, store
):
    model = make(tmp_path / "made", checkpoint, bloom_tokenizer, spiece)
    fill_hub_cache(tmp_path / "made", checkpoint.hub_id)
    name = checkpoint.name
    if name.startswith("mt5"):
        with pytest.raises(
            BadInput, match=f"in the hub's cache.*only as .bin.*workbench convert {name} --to safetensors"
        ):
            generate(load(name, store=store), [PROMPT], max_new_tokens=6)
        name = str(to_safetensors(name, tmp_path / "converted"))
    handle = load(name, device="cpu", store=store)
    assert (handle.architecture, handle.identity.context_length) == (
        checkpoint.architecture,
        checkpoint.context_length,
    )
    ids = lambda text, **options: ids_of(checkpoint, text, bloom_tokenizer, spiece, **options)  # noqa: E731
    scores = rank(handle, [ITEM], protocol="xmtf")["scores"][0]
    assert scores == pytest.approx(
        [reference_score(model, checkpoint, c, ids) for c in ITEM.choices], abs=1e-4
    )
    expected = handle.hf.tokenizer.decode(reference_ids(model, checkpoint, ids), skip_special_tokens=True)
    (answer,) = generate(handle, [PROMPT], max_new_tokens=6)
    assert answer.text == expected
    assert next(handle.hf.model.parameters()).dtype == torch.float32


def test_a_model_with_spiece_alone_tokenizes_as_sentencepiece_does(
    spiece, bloom_tokenizer, fill_hub_cache, tmp_path, store
):
    """Without protobuf transformers ended in a traceback about tiktoken. Twin: tokens of another text differ."""
    checkpoint = next(each for each in family() if each.name == "mt5-small")
    make(tmp_path / "made", checkpoint, bloom_tokenizer, spiece)
    folder = to_safetensors(str(tmp_path / "made"), tmp_path / "converted")
    assert not (folder / "tokenizer.json").exists()
    tokenizer = load(folder, device="cpu", store=store).hf.tokenizer
    for text in [*TEXTS, "a\nb  c ", "ﬁ ½", " x", ""]:
        assert tokenizer(text)["input_ids"] == ids_of(checkpoint, text, None, spiece, end=True)
    assert tokenizer("chat")["input_ids"] != ids_of(checkpoint, "chats", None, spiece, end=True)
