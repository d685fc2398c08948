"""The record of one checkpoint, its parameter count from its sizes, and the memory that its weights need."""

from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from workbench.errors import UnknownName

BYTES_PER_PARAMETER = MappingProxyType(
    {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0, "8bit": 1.0, "4bit": 0.5}
)


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

    def shown(self, field: str) -> str:
        """Return one field as text for display: "–" if unknown, with a question mark if not verified."""
        value = getattr(self, field)
        text = "–" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
        return text + (" ?" if field in self.unverified else "")


def memory_needed(checkpoint: Checkpoint, dtype: str) -> int:
    """Return the bytes needed for the weights alone: parameters times bytes per parameter.

    Activations, the KV cache and the logits (batch x tokens x vocabulary x 4 bytes) come on top.
    "8bit" and "4bit" count every weight as quantized; in practice embeddings often stay at two bytes.

    Raises:
        UnknownName: a dtype that is not in `BYTES_PER_PARAMETER`.
    """
    if dtype not in BYTES_PER_PARAMETER:
        raise UnknownName(f"no dtype called {dtype!r}; choose one of: {', '.join(BYTES_PER_PARAMETER)}")
    return round(checkpoint.parameters * BYTES_PER_PARAMETER[dtype])


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
