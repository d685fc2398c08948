"""Random checkpoints at the real sizes of bloomz-560m, bloomz-7b1 and mt0-small; their tokenizer makes one token of every word."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    MT5Config,
    MT5ForConditionalGeneration,
    PreTrainedTokenizerFast,
)  # fmt: skip

WORDS = 250_000  # "w0" … in both vocabularies, which are a little larger
END_OF_WALK = 1000  # the end token of the BLOOM side's walks, see `walking_head`
SIZES = {  # from the config.json of bigscience's models on the hub
    "bloomz-560m": {"vocab_size": 250_880, "hidden_size": 1024, "n_layer": 24, "n_head": 16},
    "bloomz-7b1": {"vocab_size": 250_880, "hidden_size": 4096, "n_layer": 30, "n_head": 32},
    "mt0-small": {"vocab_size": 250_112, "d_model": 512, "d_kv": 64, "d_ff": 1024, "num_layers": 8, "num_heads": 6},
}  # fmt: skip
PARAMETERS = {"bloomz-560m": 559_214_592, "bloomz-7b1": 7_069_016_064, "mt0-small": 300_176_768}
SIDES = {"bloom": "bloomz-560m", "mt5": "mt0-small"}  # what stands for a side on a CPU


def checkpoint(size: str, folder: Path, dtype: str = "float32", device: str = "cpu") -> Path:
    """Make a checkpoint of a size unless it is there, and give its folder.

    Args:
        dtype: of the file.
        device: where its weights are drawn; a GPU is much faster at it.
    """
    path = folder / f"random-{size}-{dtype}"
    if (path / "whole").exists():
        return path
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    side = "bloom" if size.startswith("bloom") else "mt5"
    with torch.device(device):
        model = (_bloom if side == "bloom" else _mt5)(SIZES[size])
    torch.set_default_dtype(before)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count == PARAMETERS[size], f"{size}: {count} parameters, the real one has {PARAMETERS[size]}"
    model.save_pretrained(path)
    _tokenizer(side).save_pretrained(path)
    (path / "whole").touch()
    return path


def walking_head(embeddings: torch.Tensor) -> torch.Tensor:
    """A head that answers every word with the next one, so that a prompt's last word decides how long its answer is.

    Random weights repeat their input for ever; a text that walks w7, w8, … ends at the end token, as real ones do.
    """
    return embeddings.roll(1, dims=0).contiguous()


def _bloom(size: dict[str, int]) -> BloomForCausalLM:
    return BloomForCausalLM(BloomConfig(**size, bos_token_id=1, eos_token_id=END_OF_WALK, pad_token_id=3))


def _mt5(size: dict[str, int]) -> MT5ForConditionalGeneration:
    """With a head of its own, as the published files have; one that is made from a config would share the embeddings."""
    model = MT5ForConditionalGeneration(MT5Config(**size, tie_word_embeddings=False))
    model.lm_head.weight = torch.nn.Parameter(torch.randn(size["vocab_size"], size["d_model"]) * 0.05)
    return model


def _tokenizer(side: str) -> PreTrainedTokenizerFast:
    special = ["<pad>", "</s>", "<unk>"] if side == "mt5" else ["<unk>", "<s>", "</s>", "<pad>"]
    words = [*special, *(f"w{number}" for number in range(WORDS))]
    tokenizer = Tokenizer(
        models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if side == "mt5":
        tokenizer.post_processor = processors.TemplateProcessing(
            single="$A </s>", special_tokens=[("</s>", words.index("</s>"))]
        )
    end = "</s>" if side == "mt5" else words[END_OF_WALK]
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", eos_token=end, model_max_length=2048
    )
