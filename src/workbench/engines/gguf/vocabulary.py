"""A tokenizer as a GGUF file holds it, for other programs, and the check that a file's tokens are those of a tokenizer.

Prompts are always encoded by the checkpoint's own tokenizer here; llama.cpp only sees token ids.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from workbench.errors import BadInput
from workbench.gguf_header import TOKENS

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED = 1, 2, 3, 4, 5  # types of tokens in llama.cpp
NO_TOKENIZER = "none"
_UNUSED_SCORE = -10000.0
_OWN_SPLITS = {  # the expression that splits a text into words: llama.cpp's name for it
    " ?[^(\\s|[.,!?…。，、।۔،])]+": "bloom",
}


@dataclass(frozen=True)
class Vocabulary:
    """The fields `tokenizer.ggml.…` of a file: values by name, and the types of the tokens."""

    model: str
    tokens: Sequence[str]
    types: Sequence[int]
    fields: Mapping[str, Any] = field(default_factory=dict)

    def without_tokenizer(self) -> "Vocabulary":
        """Return the tokens alone, for a tokenizer that llama.cpp does not have."""
        return Vocabulary(NO_TOKENIZER, self.tokens, self.types)


def vocabulary_of(tokenizer: Any, rows: int, *, is_encoder_decoder: bool) -> Vocabulary:
    """Return a tokenizer as a file of `rows` embeddings holds it; one of a kind that llama.cpp lacks, as its tokens alone.

    Raises:
        BadInput: it has no token list.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise BadInput(
            f"the tokenizer {type(tokenizer).__name__} has no tokenizer.json, from which a GGUF file's is made"
        )
    described = json.loads(backend.to_str())
    tokens = names_of(tokenizer, rows)
    special = {token["id"]: token["special"] for token in described["added_tokens"]}
    known = {number for number in tokenizer.get_vocab().values() if number < rows}
    types = [
        (CONTROL if special[number] else USER_DEFINED)
        if number in special
        else (NORMAL if number in known else UNUSED)
        for number in range(rows)
    ]
    if (unknown := tokenizer.unk_token_id) is not None and unknown < rows:
        types[unknown] = UNKNOWN
    special_ids = {
        f"{called}_token_id": getattr(tokenizer, f"{name}_token_id", None)
        for called, name in (("bos", "bos"), ("eos", "eos"), ("padding", "pad"), ("unknown", "unk"))
    }
    adds_end = {
        "add_bos_token": False, "add_eos_token": is_encoder_decoder,
        **{name: number for name, number in special_ids.items() if number is not None},
    }  # fmt: skip
    kind = described["model"]["type"]
    if kind == "BPE":
        merges = [one if isinstance(one, str) else " ".join(one) for one in described["model"]["merges"]]
        fields = {"pre": _split(described["pre_tokenizer"]), "merges": merges, **adds_end}
        return Vocabulary("gpt2", tokens, types, fields)
    if kind == "Unigram":
        scores = dict(enumerate(score for _, score in described["model"]["vocab"]))
        fields = {
            "pre": "default", "scores": [scores.get(number, _UNUSED_SCORE) for number in range(rows)],
            "precompiled_charsmap": list(_charsmap(described["normalizer"])), "add_space_prefix": True,
            "remove_extra_whitespaces": True, **adds_end,
        }  # fmt: skip
        return Vocabulary("t5", tokens, types, fields)
    return Vocabulary(NO_TOKENIZER, tokens, types)


def names_of(tokenizer: Any, rows: int) -> list[str]:
    """Return the token of each embedding as it is written in the vocabulary; embeddings without a token are "[PAD17]"."""
    names = [f"[PAD{number}]" for number in range(rows)]
    for name, number in tokenizer.get_vocab().items():
        if number < rows:
            names[number] = name
    return names


def expect_same_tokens(path: object, tokens: Any, tokenizer: Any, checkpoint: str) -> None:
    """Check that a file's tokens are those of a tokenizer, number by number.

    Raises:
        BadInput: the file lists none, or another; the message names the first difference.
    """
    if not isinstance(tokens, list) or not tokens:
        raise BadInput(
            f"{path} holds no {TOKENS}, so it cannot be checked which tokenizer fits it; take another file"
        )
    ours = tokenizer.get_vocab()
    wrong = [
        (number, name) for name, number in ours.items() if number < len(tokens) and tokens[number] != name
    ]
    beyond = [name for number, name in enumerate(tokens) if not _is_padding(name) and name not in ours]
    if wrong or len(ours) > len(tokens) + _SENTINELS or len(beyond) > _SENTINELS:
        number, name = min(wrong, default=(len(tokens), "none"))
        theirs = (
            tokens[number] if number < len(tokens) else f"one of {len(beyond)} others, such as {beyond[:1]}"
        )
        raise BadInput(
            f"{path} was made with another tokenizer than that of {checkpoint}: token {number} is {theirs!r} there and {name!r} here; name "
            "the checkpoint that it was made of, as in load(FILE, tokenizer='bloomz-560m') or FILE#bloomz-560m"
        )


_SENTINELS = (
    300  # tokens for masked spans (mT5), which a tokenizer may add beyond the embeddings, or leave out
)


def _is_padding(name: str) -> bool:
    return name.startswith(("[PAD", "<extra_id_", "<unused", "▁<extra_id_"))


def _split(pre_tokenizer: Any) -> str:
    """Return llama.cpp's name for how a byte-level tokenizer splits words."""
    parts = pre_tokenizer.get("pretokenizers", [pre_tokenizer]) if pre_tokenizer else []
    patterns = [part["pattern"].get("Regex", "") for part in parts if part["type"] == "Split"]
    return _OWN_SPLITS.get(patterns[0], "gpt-2") if patterns else "gpt-2"


def _charsmap(normalizer: Any) -> bytes:
    """Return the table of a sentencepiece normalizer; empty without one."""
    parts = normalizer.get("normalizers", [normalizer]) if normalizer else []
    tables = [part["precompiled_charsmap"] for part in parts if part["type"] == "Precompiled"]
    return base64.b64decode(tables[0]) if tables and tables[0] else b""
