"""The format of a service's replies: frames of JSON, followed by hidden states as raw float32.

A frame is a flag (whether it is the last of a reply), two lengths, a JSON object and bytes. JSON preserves every float64
exactly, and the float32 numbers of the engines are float64 here.
"""

import json
import math
import struct
import sys
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np

from workbench.models.requests import Decoded, Lens, TokenAlternatives, TokenScores

ARRAYS = ("states", "token_states", "activity")  # orders whose answers are arrays
HEAD = struct.Struct("!?II")
Frame = tuple[bool, dict[str, Any], bytes]


def pack(about: dict[str, Any], raw: bytes = b"", *, last: bool = False) -> bytes:
    """Return a frame with this JSON object and these bytes."""
    text = json.dumps(about, ensure_ascii=False, separators=(",", ":")).encode()
    return HEAD.pack(last, len(text), len(raw)) + text + raw


def unpack(head: bytes, body: bytes) -> Frame:
    """Return the parts of a frame from its head and the bytes after it."""
    last, length, _ = HEAD.unpack(head)
    return last, json.loads(body[:length]), body[length:]


def size_after(head: bytes) -> int:
    """Return how many bytes follow a head."""
    _, length, raw = HEAD.unpack(head)
    return int(length + raw)


def read(file: BinaryIO) -> Frame | None:
    """Read a frame from a file; None at its end."""
    head = file.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    body = file.read(size_after(head))
    return unpack(head, body) if len(body) == size_after(head) else None


def frames_in(chunks: Iterator[bytes]) -> Iterator[Frame]:
    """Yield the frames in a stream of bytes; an incomplete one at the end is dropped."""
    buffer = bytearray()
    for chunk in chunks:
        buffer += chunk
        while len(buffer) >= HEAD.size and len(buffer) >= (
            end := HEAD.size + size_after(bytes(buffer[: HEAD.size]))
        ):
            yield unpack(bytes(buffer[: HEAD.size]), bytes(buffer[HEAD.size : end]))
            del buffer[:end]


def pack_answers(do: str, positions: list[int], answers: Sequence[Any]) -> bytes:
    """Return a frame with finished answers: generated texts, token scores, or states (float32)."""
    if do in ARRAYS:
        raw = b"".join(np.ascontiguousarray(answer, dtype="<f4").tobytes() for answer in answers)
        return pack({"positions": positions, "shapes": [answer.shape for answer in answers]}, raw)
    return pack({"positions": positions, "answers": [[*vars(answer).values()] for answer in answers]})


def answers_in(do: str, about: dict[str, Any], raw: bytes) -> tuple[list[int], list[Any]]:
    """Return the positions and answers in a frame."""
    if do in ARRAYS:
        ends = np.cumsum([math.prod(shape) for shape in about["shapes"]])
        parts = np.split(np.frombuffer(raw, "<f4"), ends[:-1])
        return about["positions"], [
            part.reshape(shape) for part, shape in zip(parts, about["shapes"], strict=True)
        ]
    if do == "alternatives":
        return about["positions"], [TokenAlternatives(*answer) for answer in about["answers"]]
    if do == "lens":
        return about["positions"], [Lens(*answer) for answer in about["answers"]]
    if do == "generate":
        return about["positions"], [Decoded(*answer) for answer in about["answers"]]
    return about["positions"], [
        TokenScores(tuple(map(sys.intern, tokens)), tuple(logprobs), truncated)
        for tokens, logprobs, truncated in about["answers"]
    ]
