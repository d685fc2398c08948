"""The files of a checkpoint's folder: which ones are loaded, and which ones are missing.

The file names, and their order of precedence, are those of transformers; exactly the files that are loaded are digested. This
module does not import torch.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workbench.atomic import read_json
from workbench.errors import BadInput

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLED, PICKLED_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
SETTINGS = ("config.json", "generation_config.json")
VOCABULARIES = (
    "tokenizer.json", "spiece.model", "sentencepiece.bpe.model", "sentencepiece.model", "tokenizer.model", "spm.model",
    "spm_char.model", "source.spm", "target.spm", "tekken.json", "vocab.json", "vocab.txt", "vocab-src.json",
    "vocab-tgt.json", "target_vocab.json", "dict.txt", "prophetnet.tokenizer", "emoji.json",
)  # fmt: skip
TOKENIZER = (
    *VOCABULARIES, "word_shape.json", "word_pronunciation.json", "merges.txt", "bpe.codes", "normalizer.json",
    "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
)  # fmt: skip
_NO_VOCABULARY = {"ByT5Tokenizer", "CanineTokenizer", "PerceiverTokenizer"}  # bytes or code points
_POINTER = b"version https://git-lfs"


def weight_files(folder: Path) -> list[Path]:
    """Return the files that hold the weights: the single file, or the index and its shards, whether or not they exist.

    Raises:
        BadInput: the index cannot be read.
    """
    if (folder / SINGLE).exists() or not (folder / INDEX).exists():
        return [folder / SINGLE]
    return [folder / INDEX, *shards(folder / INDEX)]


def shards(index: Path) -> list[Path]:
    """Return the files that an index names.

    Raises:
        BadInput: the index cannot be read, or names no files.
    """
    placed = settings(index).get("weight_map")
    names = set(placed.values()) if isinstance(placed, dict) else set()
    if not names or not all(isinstance(name, str) and Path(name).name == name for name in names):
        raise BadInput(f"{index} lists no weight files; fetch it again")
    return [index.parent / name for name in sorted(names)]


def settings_files(folder: Path) -> list[Path]:
    """Return the configuration files that can change an answer."""
    return [folder / name for name in SETTINGS if (folder / name).exists()]


def tokenizer_files(folder: Path) -> list[Path]:
    """Return the files from which the tokenizer is built."""
    return [folder / name for name in TOKENIZER if (folder / name).exists()]


def lacking(folder: Path, *, weights: bool = True) -> list[str]:
    """Return what a folder lacks for loading: config.json, weights as safetensors (if wanted), a tokenizer's vocabulary.

    Raises:
        BadInput: an index that cannot be read.
    """
    needed = [folder / SETTINGS[0], *(weight_files(folder) if weights else [])]
    absent = [path.name for path in needed if not path.exists()]
    has_vocabulary = any((folder / name).exists() for name in VOCABULARIES)
    if (
        not has_vocabulary
        and settings(folder / "tokenizer_config.json").get("tokenizer_class") not in _NO_VOCABULARY
    ):
        absent.append("a tokenizer (tokenizer.json, spiece.model or another vocabulary)")
    return absent


def is_pickled(folder: Path) -> bool:
    """Whether the weights are present only as .bin files."""
    has_safetensors = (folder / SINGLE).exists() or (folder / INDEX).exists()
    return not has_safetensors and ((folder / PICKLED).exists() or (folder / PICKLED_INDEX).exists())


def expect_loadable(folder: Path) -> None:
    """Check that a folder can be loaded, and from exactly the files that are digested.

    Raises:
        BadInput: .bin weights, an adapter, a missing or empty file, a git-LFS pointer in place of a file, or a config.json that
            names other weights.
    """
    if is_pickled(folder):
        raise BadInput(f"{folder} has {_as_pickle(str(folder))}")
    if (folder / "adapter_config.json").exists():
        raise BadInput(
            f"{folder} holds an adapter (adapter_config.json), which is not loaded; "
            "merge it with peft's `merge_and_unload()`, `save_pretrained` the model and load that folder"
        )
    absent = lacking(folder)
    if absent:
        raise BadInput(
            f"{folder} lacks {listed(absent)}; fetch it again, or copy what is missing from its source"
        )
    for path in [*weight_files(folder), *settings_files(folder), *tokenizer_files(folder)]:
        expect_content(path)
    if "transformers_weights" in settings(folder / SETTINGS[0]):
        raise BadInput(
            f"{folder}/config.json names other weights in `transformers_weights`; save the model under {SINGLE} instead"
        )


def expect_content(path: Path) -> None:
    """Check that a file is neither empty nor a git-LFS pointer.

    Raises:
        BadInput: it is one of these.
    """
    with path.open("rb") as file:
        start = file.read(len(_POINTER))
    if start == _POINTER:
        raise BadInput(
            f"{path} is a git-LFS pointer and not the file itself; run `git lfs pull` in {path.parent}"
        )
    if not start:
        raise BadInput(f"{path} is empty; fetch it again")


def expect_not_pickled(name: str, hub_id: str, folder: Path) -> None:
    """Check that a model in the hub's cache is not present only as .bin.

    Raises:
        BadInput: it is; the message says how to convert it.
    """
    if is_pickled(folder):
        raise BadInput(
            f"{name!r} is in the hub's cache with {_as_pickle(name)}; "
            f"`workbench fetch {name}` fetches safetensors if the hub has them by now"
        )


def settings(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file, empty if the file does not exist.

    Raises:
        BadInput: the file holds something else.
    """
    try:
        return read_json(path)
    except (
        ValueError,
        RecursionError,
    ) as error:  # json.JSONDecodeError and UnicodeDecodeError are ValueErrors
        expect_content(path)
        raise BadInput(f"{path} is not a JSON object in UTF-8: {error}; fetch it again") from error


def model_type(folder: Path) -> str:
    """Return the architecture that config.json names."""
    return str(settings(folder / SETTINGS[0]).get("model_type", "unknown"))


def listed(names: Sequence[str]) -> str:
    """Return the first three names for a message, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _as_pickle(name: str) -> str:
    return (
        "weights only as .bin (pickle), which are never loaded; "
        f"`workbench convert {name} --to safetensors --output FOLDER` makes a copy to load as FOLDER"
    )
