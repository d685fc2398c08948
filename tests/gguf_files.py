"""Makes small GGUF files byte by byte, without any library."""

import struct

STRING, ARRAY, FLOAT, WHOLE = 8, 9, 6, 4


def text(value):
    return struct.pack("<Q", len(value.encode())) + value.encode()


def value(given):
    if isinstance(given, list):
        return struct.pack("<IIQ", ARRAY, STRING, len(given)) + b"".join(map(text, given))
    if isinstance(given, str):
        return struct.pack("<I", STRING) + text(given)
    return struct.pack(
        "<If" if isinstance(given, float) else "<II", FLOAT if isinstance(given, float) else WHOLE, given
    )


def gguf_file(path, fields, tensors=(), version=3):
    """Write fields, and tensors (name, shape as in numpy) of zeros in F32."""
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(fields))
    head += b"".join(text(name) + value(given) for name, given in fields.items())
    place = 0
    for name, shape in tensors:
        head += (
            text(name)
            + struct.pack(f"<I{len(shape)}Q", len(shape), *shape[::-1])
            + struct.pack("<IQ", 0, place)
        )
        size = 4
        for length in shape:
            size *= length
        place += -(-size // 32) * 32
    path.write_bytes(head + b"\0" * (-len(head) % 32 + place))
    return path
