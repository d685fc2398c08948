"""What a GGUF file must hold before llama.cpp reads it, since llama.cpp ends the process over some faults."""

from pathlib import Path

from workbench.engines.gguf.tensors import expected_shapes
from workbench.errors import BadInput
from workbench.gguf_header import TOKENS, Header
from workbench.models.folders import listed
from workbench.models.gguf import ARCHITECTURES

_MAY_LACK = ("output.weight", ".ffn_gate.weight", ".cross_attn_rel_b.weight", ".attn_rel_b.weight")
_MOST = {  # what sizes and counts are plausible; llama.cpp ends the process over some of the others
    "context_length": 2**20, "block_count": 1000, "decoder_block_count": 1000, "embedding_length": 2**20,
    "feed_forward_length": 2**22, "attention.head_count": 10_000, "attention.key_length": 2**20, "attention.value_length": 2**20,
    "attention.relative_buckets_count": 2**20,
}  # fmt: skip
OF_EACH_TOKEN = ("tokenizer.ggml.token_type", "tokenizer.ggml.scores")
_TOKENIZERS = ("gpt2", "t5", "llama", "none", "no_vocab")


def expect_loadable(path: Path, header: Header) -> int:
    """Check a file's fields and the shapes of its tensors, and return how many tokens it has embeddings for.

    Raises:
        BadInput: something is missing, or of another form.
    """
    fields, tensors = header.fields, header.tensors
    architecture = ARCHITECTURES[header.architecture]
    embedding = tensors.get("token_embd.weight")
    tokens = fields.get(TOKENS)
    if embedding is None or len(embedding.shape) != 2 or not isinstance(tokens, list):
        raise _unfit(path, "it lacks token_embd.weight or its tokens")
    if fields.get("tokenizer.ggml.model") not in _TOKENIZERS or len(tokens) != embedding.shape[0]:
        raise _unfit(
            path,
            f"{len(tokens)} tokens, embeddings of shape {embedding.shape}, tokenizer {fields.get('tokenizer.ggml.model')!r}",
        )
    for name, most in _MOST.items():
        value = fields.get(f"{header.architecture}.{name}", 1)
        if not isinstance(value, int) or not 0 < value <= most:
            raise _unfit(path, f"{name} is {value!r}, not 1 to {most:,}")
    for name in OF_EACH_TOKEN:
        if len(fields.get(name) or tokens) != len(tokens):
            raise _unfit(path, f"{len(fields[name])} values of {name} for {len(tokens)} tokens")
    try:
        shapes = expected_shapes(architecture, fields, embedding.shape[0])
    except (KeyError, TypeError, ValueError) as error:
        raise _unfit(path, f"the field {error} is missing or is no number") from error
    absent = [name for name in shapes.keys() - tensors.keys() if not name.endswith(_MAY_LACK)]
    other = [name for name, shape in shapes.items() if name in tensors and tensors[name].shape != shape]
    others = [name for name in tensors.keys() - shapes.keys() if not name.endswith(_MAY_LACK)]
    for names, why in (
        (absent, "it lacks"),
        (other, "of another shape than its fields say"),
        (others, "unknown"),
    ):
        if names:
            raise _unfit(path, f"{why}: {listed(sorted(names))}")
    return embedding.shape[0]


def _unfit(path: Path, why: str) -> BadInput:
    return BadInput(
        f"{path} is not a whole model ({why}); fetch it again, or convert the checkpoint: workbench convert NAME --to gguf"
    )
