"""The catalogue: 28 checkpoints, the languages they saw, and the miniature family's names.

The facts are two CSV files with a source per row; a figure we could not check ourselves is named in the row's
`unverified` column and is shown with a question mark. No model code is imported here, and no pandas.
"""

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from workbench.errors import UnknownName
from workbench.paths import data_path

BYTES_PER_PARAMETER = MappingProxyType(
    {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0, "8bit": 1.0, "4bit": 0.5}
)
PUBLISHED_TRUNCATION = MappingProxyType(
    {"bloom": 2048, "mt5": 512}
)  # input tokens in the published evaluation
MINIATURES = tuple(
    f"mini-{name}" for name in ("bloom", "bloomz", "bloomz-mt", "bloomz-p3", "mt5", "mt0", "mt0-mt", "mt0-p3")
)
_NUMBERS = (
    "parameters",
    "layers",
    "width",
    "heads",
    "feed_forward",
    "vocabulary",
    "steps",
    "tokens",
    "context_length",
)
_PROMPT_LANGUAGE = {
    "none": "not recommended",
    "xP3": "English",
    "xP3mt": "non-English",
    "P3": "research only",
}
_SHARES = ("roots_percent", "xp3_percent", "mc4_percent")


def is_miniature(name: str) -> bool:
    """Whether a model's name is of the miniature family, whose results are SYNTHETIC; those trained again keep the prefix."""
    return name.startswith("mini-")


@dataclass(frozen=True)
class Checkpoint:
    """One released model; None where nothing is known.

    `layers` are those of one stack: an "mt5" has as many in its encoder as in its decoder. `vocabulary` is the
    rows of the embedding. `mixture` is what it was finetuned on ("none": only pretrained), `steps` and `tokens`
    are those of finetuning. `precision` is that of the published weights. `context_length` is the longest input in
    training; the published evaluation cut inputs at `PUBLISHED_TRUNCATION`. `unverified` names the fields whose
    value rests on a secondary page or an inference.
    """

    name: str
    hub_id: str
    architecture: Literal["bloom", "mt5"]
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

    @property
    def is_encoder_decoder(self) -> bool:
        """True on the mT5 side."""
        return self.architecture == "mt5"

    @property
    def is_miniature(self) -> bool:
        """True for the tiny checkpoints that ship with the package."""
        return self.name in MINIATURES

    def shown(self, field: str) -> str:
        """Write one field for people: "–" for unknown, a question mark after what was not verified."""
        value = getattr(self, field)
        text = "–" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
        return text + (" ?" if field in self.unverified else "")


@dataclass(frozen=True)
class Language:
    """A language and its share, in percent, of three corpora; None: not in that corpus."""

    code: str
    name: str
    genus: str | None
    roots_bytes: int | None
    roots_percent: float | None
    xp3_percent: float | None
    xp3_samples: int | None
    mc4_percent: float | None
    source: str


@lru_cache(maxsize=1)
def checkpoints() -> tuple[Checkpoint, ...]:
    """List the 28 checkpoints of the family, BLOOM side first, bases before what was finetuned from them."""
    return tuple(_checkpoint(row) for row in _rows("checkpoints.csv"))


def find(name: str) -> Checkpoint:
    """Find a checkpoint by its short name or its hub id; a miniature that ships is described from its folder.

    Raises:
        UnknownName: no such checkpoint; the message lists the nearest names.
    """
    for checkpoint in checkpoints():
        if name in (checkpoint.name, checkpoint.hub_id):
            return checkpoint
    if name in MINIATURES:
        return _miniature(name)
    names = [text for checkpoint in checkpoints() for text in (checkpoint.name, checkpoint.hub_id)]
    raise UnknownName(f"no checkpoint called {name!r}; {_nearest(name, [*names, *MINIATURES])}")


def shipped_miniatures() -> tuple[str, ...]:
    """Name the miniatures whose weights are in the package's data."""
    return tuple(name for name in MINIATURES if (miniature_folder(name) / "config.json").is_file())


def miniature_folder(name: str) -> Path:
    """Say where a miniature's files are (or would be)."""
    return data_path("mini/models") / name


def memory_needed(checkpoint: Checkpoint, dtype: str) -> int:
    """Give the bytes the weights alone take: parameters times bytes per parameter.

    Activations, the cache of keys and values and the logits (batch x tokens x vocabulary x 4 bytes) come on top.
    "8bit" and "4bit" count every weight as quantized; in practice embeddings often stay at two bytes.

    Raises:
        UnknownName: a dtype other than those of `BYTES_PER_PARAMETER`.
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
    """Count a model's parameters from its sizes.

    BLOOM: tied embedding, biases everywhere, norms with bias. mT5: embedding and head apart, no biases, gated
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


@lru_cache(maxsize=1)
def languages() -> tuple[Language, ...]:
    """List the languages of ROOTS and xP3, then those of the published evaluation that neither contains."""
    return tuple(_language(row) for row in _rows("languages.csv"))


def find_language(code: str) -> Language:
    """Find a language by its code; `jp`, as XWinograd writes it, is Japanese.

    Raises:
        UnknownName: a code outside the table; the message lists the nearest.
    """
    wanted = "ja" if code == "jp" else code
    for language in languages():
        if language.code == wanted:
            return language
    raise UnknownName(
        f"no language {code!r} in the table; {_nearest(code, [lang.code for lang in languages()])}"
    )


def languages_seen(name: str, stage: Literal["pretraining", "finetuning", "any"] = "any") -> tuple[str, ...]:
    """Give the codes of the languages a checkpoint was trained on, of those in `languages()`.

    "Seen" means seen on purpose: ROOTS holds traces of others. mC4 has 101 languages, of which the table lists
    only those that matter here. P3 is English, xP3 and xP3mt have the same 46.
    """
    checkpoint = find(name)
    if checkpoint.is_miniature:
        raise UnknownName(
            f"{name!r} is a miniature; its languages are in {data_path('mini')}, not in this table"
        )
    corpus = "mc4_percent" if checkpoint.is_encoder_decoder else "roots_percent"
    pretrained = {lang.code for lang in languages() if getattr(lang, corpus) is not None}
    multilingual = {lang.code for lang in languages() if lang.xp3_percent is not None}
    finetuned: set[str] = {"none": set(), "P3": {"en"}}.get(checkpoint.mixture, multilingual)
    seen = {"pretraining": pretrained, "finetuning": finetuned, "any": pretrained | finetuned}[stage]
    return tuple(lang.code for lang in languages() if lang.code in seen)


def _miniature(name: str) -> Checkpoint:
    path = miniature_folder(name) / "config.json"
    if not path.is_file():
        ready = ", ".join(shipped_miniatures()) or "none yet"
        raise UnknownName(f"{name!r} is a reserved name whose weights do not ship; those that do: {ready}")
    sizes = json.loads(path.read_text(encoding="utf-8"))
    bloom = sizes["model_type"] == "bloom"
    width = sizes["hidden_size"] if bloom else sizes["d_model"]
    shape = {
        "layers": sizes["n_layer"] if bloom else sizes["num_layers"],
        "width": width,
        "heads": sizes["n_head"] if bloom else sizes["num_heads"],
        "feed_forward": 4 * width if bloom else sizes["d_ff"],
        "vocabulary": sizes["vocab_size"],
    }
    base, _, suffix = name.partition("-")[2].partition("-")
    parent = {"bloomz": "mini-bloom", "mt0": "mini-mt5"}.get(base)
    mixture = {"": "xP3", "mt": "xP3mt", "p3": "P3"}[suffix] if parent else "none"
    return Checkpoint(
        name=name,
        hub_id=name,
        architecture="bloom" if bloom else "mt5",
        parameters=count_parameters(sizes["model_type"], **shape, head_width=sizes.get("d_kv", 0)),
        **shape,
        parent=parent,
        mixture=mixture,
        prompt_language=_PROMPT_LANGUAGE[mixture],
        steps=None,
        tokens=None,
        precision="float16",
        licence="apache-2.0",
        context_length=None,
        revision=None,
        unverified=(),
        source=f"trained by this project's recipe; {path.parent}",
    )


def _checkpoint(row: dict[str, str]) -> Checkpoint:
    fields: dict[str, object] = {key: value or None for key, value in row.items()}
    fields |= {key: int(row[key]) if row[key] else None for key in _NUMBERS}
    return Checkpoint(**{**fields, "unverified": tuple(row["unverified"].split())})  # type: ignore[arg-type]


def _language(row: dict[str, str]) -> Language:
    fields: dict[str, object] = {key: value or None for key, value in row.items()}
    fields |= {key: int(row[key]) if row[key] else None for key in ("roots_bytes", "xp3_samples")}
    fields |= {key: float(row[key]) if row[key] else None for key in _SHARES}
    return Language(**fields)  # type: ignore[arg-type]


def _rows(name: str) -> Iterable[dict[str, str]]:
    with data_path(name).open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _nearest(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, n=4, cutoff=0.4)
    return f"nearest: {', '.join(near)}" if near else f"known: {', '.join(known)}"
