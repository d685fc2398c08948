"""Names of GGUF files: `x.gguf`, `QuantFactory/bloomz-560m-GGUF:Q8_0`, and either with `#bloomz-560m`, the checkpoint whose tokenizer it has."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from workbench.gguf_header import statements
from workbench.paths import expanded

_IN_A_REPOSITORY = re.compile(r"([\w.-]+/[\w.-]+):([\w.-]+)")
_TYPE = re.compile(r"[-_.](f32|f16|bf16|i?q\d\w*)$", re.IGNORECASE)
_SOURCES = (
    "general.source.huggingface.repository", "general.source.repo_url", "general.source.url", "general.base_model.0.repo_url",
    "general.name",
)  # fmt: skip
_HUB = "https://huggingface.co/"


@dataclass(frozen=True)
class GgufName:
    """The parts of such a name.

    `file`: a path, or the part of a hub repository's file name that selects it. `hub_id`: of that repository, None for a path.
    `checkpoint`: what follows the `#`, empty without one.
    """

    file: str
    hub_id: str | None
    checkpoint: str

    @property
    def path(self) -> Path | None:
        """The file on this machine, for one that is named by its path."""
        return None if self.hub_id else expanded(self.file).absolute()


def is_gguf(name: str) -> bool:
    """Whether a model's name is that of a GGUF file."""
    file = name.partition("#")[0]
    return "://" not in file and (
        file.lower().endswith(".gguf") or _IN_A_REPOSITORY.fullmatch(file) is not None
    )


def gguf_name(name: str) -> GgufName:
    """Split the name of a GGUF file."""
    file, _, checkpoint = name.partition("#")
    found = None if Path(file).exists() else _IN_A_REPOSITORY.fullmatch(file)
    return GgufName(found[2], found[1], checkpoint) if found else GgufName(file, None, checkpoint)


def stated(name: GgufName, path: Path | None) -> list[str]:
    """Return the checkpoints that a file may be of, the likeliest first: as named, as the file states, as its name says.

    Args:
        path: The file, if it is on this machine.
    """
    if name.checkpoint:
        return [name.checkpoint]
    return list(dict.fromkeys(one for one in _statements(name, path) if one))


def _statements(name: GgufName, path: Path | None) -> Iterator[str]:
    fields = statements(path) if path is not None else {}
    for field in _SOURCES:
        text = fields.get(field)
        yield _as_name(text) if isinstance(text, str) else ""
    if name.hub_id:
        yield re.sub(r"[-.]gguf$", "", name.hub_id.partition("/")[2], flags=re.IGNORECASE)
    if path is not None:
        yield _TYPE.sub("", path.name[: -len(".gguf")])


def _as_name(text: str) -> str:
    """Return a statement as a name: the id of an address on the hub, "bloomz-560m" for "Bloomz 560m"."""
    return text.removeprefix(_HUB).strip("/") if "/" in text else text.strip().lower().replace(" ", "-")


def checkpoint_of_file(name: str) -> str:
    """Return the checkpoint that a GGUF file's name or its own statement gives; the file's path where there is none."""
    parts = gguf_name(name)
    path = parts.path
    return next(iter(stated(parts, path if path and path.is_file() else None)), str(path or parts.hub_id))
