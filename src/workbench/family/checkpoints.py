"""The record of one checkpoint, its parameter count from its sizes, and the memory that its weights need."""

from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from workbench.errors import UnknownName

BYTES_PER_PARAMETER = MappingProxyType({"float32": 4.0, "bfloat16": 2.0, "float16": 2.0})
BYTES_PER_QUANTIZED = MappingProxyType(
    {"8bit": 1.0, "4bit": 0.5 + 4 / 64}
)  # with a scale for every 64 weights


@dataclass(frozen=True)
class Checkpoint:
    """One released model; None for unknown facts.

    `architecture` is the configuration's model type ("bloom", "mt5", …). `layers` counts one stack: an "mt5" has as many in its
    encoder as in its decoder. `vocabulary` is the number of embedding rows. `mixture` is the finetuning data ("none": only
    pretrained); `steps` and `tokens` are those of finetuning. `precision` is that of the published weights. `context_length` is
    the longest input in training; the published evaluation truncated inputs at `PUBLISHED_TRUNCATION`. `unverified` names the
    fields whose value comes from a secondary source or an inference. `folder` holds the files of a checkpoint that ships with
    its family; other checkpoints are on the hub.
    """

    name: str
    hub_id: str
    architecture: str
    parameters: int
    layers: int
    width: int
    heads: int
    feed_forward: int
    vocabulary: int
    parent: str | None
    mixture: str
    prompt_language: str
    steps: int | None
    tokens: int | None
    precision: str
    licence: str
    context_length: int | None
    revision: str | None
    unverified: tuple[str, ...]
    source: str
    folder: Path | None = None

    @property
    def is_encoder_decoder(self) -> bool:
        """Whether it is on the mT5 side."""
        return self.architecture == "mt5"

    @property
    def quantizable(self) -> int:
        """The number of parameters that 8 and 4 bit cover: the matrices of the blocks but, in mT5, not those called `wo`."""
        width, layers = self.width, self.layers
        if self.architecture == "bloom":
            others = self.vocabulary * width + 4 * width + layers * (9 * width + self.feed_forward)
            return self.parameters - others
        others = 2 * self.vocabulary * width
        if self.is_encoder_decoder:
            others += 2 * (32 * self.heads + width) + layers * (5 * width + 2 * width * self.feed_forward)
        return max(0, self.parameters - others)

    def shown(self, field: str) -> str:
        """Return one field as text for display: "–" if unknown, with a question mark if not verified."""
        value = getattr(self, field)
        text = "–" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
        return text + (" ?" if field in self.unverified else "")


def memory_needed(checkpoint: Checkpoint, dtype: str, quantization: str | None = None) -> int:
    """Return the bytes needed for the weights alone: parameters times bytes per parameter.

    Activations, the KV cache and the logits (batch x tokens x vocabulary x 4 bytes) come on top. "8bit" and "4bit" cover
    `Checkpoint.quantizable`; embeddings, head and norms stay in the dtype.

    Raises:
        UnknownName: a dtype that is not in `BYTES_PER_PARAMETER`, or a quantization that is not in `BYTES_PER_QUANTIZED`.
    """
    if dtype not in BYTES_PER_PARAMETER:
        raise UnknownName(f"no dtype called {dtype!r}; choose one of: {', '.join(BYTES_PER_PARAMETER)}")
    if quantization is None:
        return round(checkpoint.parameters * BYTES_PER_PARAMETER[dtype])
    if quantization not in BYTES_PER_QUANTIZED:
        known = ", ".join(BYTES_PER_QUANTIZED)
        raise UnknownName(f"no quantization called {quantization!r}; choose one of: {known}")
    small, others = checkpoint.quantizable, checkpoint.parameters - checkpoint.quantizable
    return round(small * BYTES_PER_QUANTIZED[quantization] + others * BYTES_PER_PARAMETER[dtype])


def count_parameters(
    architecture: str,
    *,
    layers: int,
    width: int,
    heads: int,
    feed_forward: int,
    vocabulary: int,
    head_width: int = 64,
) -> int:
    """Return a model's number of parameters, computed from its sizes.

    BLOOM: tied embedding, biases everywhere, norms with bias. mT5: untied embedding and head, no biases, gated
    feed-forward, one table of 32 relative positions per stack, `layers` in each of the two stacks.

    Args:
        head_width: d_kv of the mT5 side (64 in all published sizes; 6 x 64 is not the width of mt5-small). BLOOM's
            follows from its width.
    """
    if architecture == "bloom":
        block = 4 * width * width + 2 * width * feed_forward + 9 * width + feed_forward
        return vocabulary * width + layers * block + 4 * width
    attention, gated = 4 * width * heads * head_width, 3 * width * feed_forward
    encoder, decoder = attention + gated + 2 * width, 2 * attention + gated + 3 * width
    return 2 * vocabulary * width + layers * (encoder + decoder) + 2 * (32 * heads + width)
