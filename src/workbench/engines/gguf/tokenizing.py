"""llama.cpp's own tokenizer, which is only compared with the checkpoint's when a file is made."""

import ctypes
from collections.abc import Sequence
from pathlib import Path

from workbench.engines.gguf.llama import library, reason
from workbench.errors import BadInput


def ids_in_llama(file: Path, texts: Sequence[str]) -> list[list[int]]:
    """Return the token ids that llama.cpp makes of texts with the tokenizer in a file, special tokens included.

    Raises:
        BadInput: it cannot read the tokenizer.
    """
    llama = library()
    options = llama.llama_model_default_params()
    options.vocab_only = True
    model = llama.llama_model_load_from_file(str(file).encode(), options)
    if not model:
        raise BadInput(f"llama.cpp cannot read the tokenizer ({reason()})")
    try:
        vocabulary = llama.llama_model_get_vocab(model)
        return [_ids(llama, vocabulary, text.encode()) for text in texts]
    finally:
        llama.llama_model_free(model)


def _ids(llama: object, vocabulary: object, text: bytes) -> list[int]:
    room = len(text) + 16
    ids = (ctypes.c_int32 * room)()
    count = llama.llama_tokenize(vocabulary, text, len(text), ids, room, True, True)  # type: ignore[attr-defined]
    return list(ids[: max(count, 0)])
