"""Names of models on servers: `http://host:8000/v1#bloomz`, the address of a server and the checkpoint that it is declared to be.

`#big=bloomz` declares that the model that the server calls `big` is bloomz.
"""

from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from workbench.errors import BadInput
from workbench.family.gguf_names import checkpoint_of_file, is_gguf

_SCHEMES = ("http://", "https://")


@dataclass(frozen=True)
class ServedName:
    """The parts of such a name; `called` is the model's name on the server, None where it follows from the checkpoint."""

    address: str
    checkpoint: str
    called: str | None


def is_served(name: str) -> bool:
    """Whether a model's name is that of one on a server."""
    return name.startswith(_SCHEMES)


def served_name(name: str) -> ServedName:
    """Split the name of a model on a server.

    Raises:
        BadInput: no checkpoint after a `#`, or an address without a host, or with a password or a query, which would be recorded.
    """
    address, _, declared = name.partition("#")
    called, equals, checkpoint = declared.partition("=")
    parts = _parts(address)
    if not parts.hostname or not declared or (equals and not (called and checkpoint)):
        raise BadInput(
            f"{name!r} names no model on a server; give its address and, after #, the checkpoint that it serves, such as "
            "http://localhost:8000/v1#bloomz (or #NAME=bloomz if the server calls it otherwise)"
        )
    return ServedName(address.rstrip("/"), checkpoint if equals else declared, called if equals else None)


def declared_checkpoint(name: str) -> str:
    """Return the checkpoint that a name stands for: of a model on a server or a GGUF file the declared one, else the name itself."""
    if is_served(name):
        return served_name(name).checkpoint
    return checkpoint_of_file(name) if is_gguf(name) else name


def _parts(address: str) -> SplitResult:
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError:  # its message would repeat a password
        raise BadInput("the name of a model on a server has no valid address before its #") from None
    if "@" in parts.netloc or parts.query:
        raise BadInput(
            f"the address of the server at {parts.hostname} has a user, a password or a query, and names are recorded in manifests; "
            "give the address alone, and a key in WORKBENCH_API_KEY"
        )
    return parts
