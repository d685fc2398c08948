"""Header of a GGUF file: its fields and its tensors' names, shapes, types and places, read without any library.

Every length is checked against the file, so that a damaged or truncated file is refused here and not by llama.cpp, which may end
the process. Layout: the GGUF specification, versions 2 and 3, little-endian.
"""

import mmap
import struct
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from workbench.errors import BadInput

TYPES = {  # number: name, values in a block, bytes of a block
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22), 7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210), 16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136), 29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
}  # fmt: skip
FILE_TYPES = {  # `general.file_type`, the recipe by which the types of tensors were chosen
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L",
    14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS",
    23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16",
}  # fmt: skip
TOKENS = "tokenizer.ggml.tokens"
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_MOST_DIMENSIONS = 4


@dataclass(frozen=True)
class Tensor:
    """A tensor of a file: its shape as in numpy (the reverse of GGUF's), the name of its type, and where its bytes are."""

    shape: tuple[int, ...]
    type: str
    start: int
    size: int


@dataclass(frozen=True)
class Header:
    """The fields of a file (of long arrays, only those that were asked for) and its tensors by name."""

    fields: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    @property
    def architecture(self) -> str:
        """The architecture's name in llama.cpp: "bloom", "t5", "llama", …"""
        return str(self.fields.get("general.architecture", "unknown"))

    @property
    def file_type(self) -> str:
        """The name of the recipe ("Q4_K_M"); where the file states none, the type that holds most values."""
        stated = FILE_TYPES.get(self.fields.get("general.file_type", -1))
        return stated or max(self.values_by_type, key=self.values_by_type.__getitem__, default="unknown")

    @property
    def values_by_type(self) -> dict[str, int]:
        """How many values the tensors of each type hold."""
        found: Counter[str] = Counter()
        for tensor in self.tensors.values():
            found[tensor.type] += prod(tensor.shape)
        return dict(found)

    @property
    def bytes_of_weights(self) -> int:
        """The bytes of all tensors."""
        return sum(tensor.size for tensor in self.tensors.values())


def read_header(path: Path, arrays: Sequence[str] = ()) -> Header:
    """Read a file's header.

    Args:
        arrays: the names of arrays to read; others are skipped.

    Raises:
        BadInput: not a GGUF file, or damaged or incomplete.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Reader(path, data).header(arrays)
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}; name a .gguf file") from error
    except ValueError as error:  # an empty file, or text that is not UTF-8
        raise BadInput(f"{path} is not a GGUF file, or is damaged ({error}); fetch it again") from error


def statements(path: Path) -> dict[str, Any]:
    """Return the fields that say what a file is (`general.…`), which come first; empty if the file cannot be read."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return dict(_Reader(path, data).first("general."))
    except (OSError, ValueError, BadInput):
        return {}


class _Reader:
    """A position in a file's bytes."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path, self.data, self.place = path, data, 0

    def header(self, arrays: Sequence[str]) -> Header:
        tensors, fields = self._start()
        found = dict(self._field(arrays) for _ in range(fields))
        alignment = found.get("general.alignment", 32)
        if not isinstance(alignment, int) or not 0 < alignment <= 2**20:
            raise self._damaged(f"an alignment of {alignment}")
        described = [self._described() for _ in range(tensors)]
        start = -(-self.place // alignment) * alignment
        placed = {name: self._placed(name, start, shape, kind, at) for name, shape, kind, at in described}
        if len(placed) < len(described):
            raise self._damaged("two tensors of one name")
        return Header(found, placed)

    def first(self, prefix: str) -> Iterator[tuple[str, Any]]:
        """Yield the first fields, as long as their names have a prefix."""
        _, fields = self._start()
        for _ in range(fields):
            name, value = self._field(())
            if not name.startswith(prefix):
                return
            yield name, value

    def _start(self) -> tuple[int, int]:
        if self._take(4) != b"GGUF":
            raise BadInput(f"{self.path} is not a GGUF file; fetch it again, or name another")
        version, tensors, fields = self._numbers("IQQ")
        if version not in (2, 3) or max(tensors, fields) > len(self.data):
            raise self._damaged(f"version {version} of the format, {tensors} tensors, {fields} fields")
        return tensors, fields

    def _field(self, arrays: Sequence[str]) -> tuple[str, Any]:
        name, (kind,) = self._string(), self._numbers("I")
        return name, self._array(name in arrays) if kind == _ARRAY else self._value(kind)

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string()
        if kind not in _SCALARS:
            raise self._damaged(f"a value of type {kind}")
        return self._numbers(_SCALARS[kind])[0]

    def _array(self, is_wanted: bool) -> Any:
        kind, count = self._numbers("IQ")
        if count > len(self.data):
            raise self._damaged(f"an array of {count} values")
        if kind in _SCALARS:
            width = struct.calcsize(_SCALARS[kind])
            taken = self._take(count * width)
            return list(struct.unpack(f"<{count}{_SCALARS[kind]}", taken)) if is_wanted else None
        if kind != _STRING:
            raise self._damaged(f"an array of type {kind}")
        return self._strings(count) if is_wanted else self._pass(count)

    def _strings(self, count: int) -> list[str]:
        return [self._string() for _ in range(count)]

    def _pass(self, count: int) -> None:
        """Go past so many strings; a vocabulary has a quarter of a million."""
        length, place, end = struct.Struct("<Q").unpack_from, self.place, len(self.data) - 8
        for _ in range(count):
            if place > end:
                break
            place += 8 + length(self.data, place)[0]
        self.place = place
        self._take(0)

    def _described(self) -> tuple[str, tuple[int, ...], int, int]:
        name, (dimensions,) = self._string(), self._numbers("I")
        if not 0 < dimensions <= _MOST_DIMENSIONS:
            raise self._damaged(f"a tensor of {dimensions} dimensions")
        shape = self._numbers("Q" * dimensions)[::-1]
        kind, start = self._numbers("IQ")
        return name, shape, kind, start

    def _placed(self, name: str, base: int, shape: tuple[int, ...], kind: int, offset: int) -> Tensor:
        if kind not in TYPES:
            raise BadInput(
                f"{self.path}: the tensor {name!r} has the type {kind}, which is not known here; take a file of another type"
            )
        called, block, width = TYPES[kind]
        size = prod(shape) // block * width
        if not all(shape) or shape[-1] % block or base + offset + size > len(self.data):
            raise self._damaged(f"the tensor {name!r} of shape {shape} is not wholly in it")
        return Tensor(shape, called, base + offset, size)

    def _string(self) -> str:
        return self._take(self._numbers("Q")[0]).decode("utf-8")

    def _numbers(self, form: str) -> tuple[Any, ...]:
        return struct.unpack(f"<{form}", self._take(struct.calcsize(f"<{form}")))

    def _take(self, count: int) -> bytes:
        start, self.place = self.place, self.place + count
        if self.place > len(self.data):
            raise self._damaged("it ends too early")
        return self.data[start : self.place]

    def _damaged(self, why: str) -> BadInput:
        return BadInput(f"{self.path} is damaged or incomplete ({why}); fetch it again")
