"""One byte-level BPE for the whole family, saved once per architecture with that architecture's special tokens.

Special tokens have the ids of the real models: BLOOM unk 0, bos 1, eos 2, pad 3 and nothing added to an input;
mT5 pad 0, eos 1, unk 2, sentinels at the end, and `</s>` after an input. On the mT5 side a space is put before the
first word, as in mT5's own tokenizer, so that a word is the same token in every position.
"""

import json
from collections.abc import Iterable
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

SENTINELS = tuple(f"<extra_id_{number}>" for number in range(16))
BLOOM_SPECIAL = ("<unk>", "<s>", "</s>", "<pad>")
MT5_SPECIAL = ("<pad>", "</s>", "<unk>")
LONGEST = 256  # model_max_length


def train_bpe(texts: Iterable[str], size: int) -> tuple[list[str], list[tuple[str, str]]]:
    """Train a byte-level BPE of `size` tokens and return the tokens in order, and the merges."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    return tokens, [(left, right) for left, right in model["merges"]]


def build(tokens: list[str], merges: list[tuple[str, str]], encoder_decoder: bool) -> PreTrainedTokenizerFast:
    """Return the BPE as a BLOOM or an mT5 tokenizer."""
    special = MT5_SPECIAL if encoder_decoder else BLOOM_SPECIAL
    after = SENTINELS if encoder_decoder else ()
    vocab = {token: number for number, token in enumerate([*special, *tokens, *after])}
    backend = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=encoder_decoder)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([*special, *after])
    names: dict[str, Any] = {"unk_token": "<unk>", "pad_token": "<pad>", "eos_token": "</s>"}
    if encoder_decoder:
        backend.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
        backend.post_processor = processors.TemplateProcessing(
            single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", vocab["</s>"])]
        )
        names["additional_special_tokens"] = list(SENTINELS)
    else:
        names["bos_token"] = "<s>"
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=LONGEST,
        padding_side="right" if encoder_decoder else "left",
        clean_up_tokenization_spaces=False,
        **names,
    )
