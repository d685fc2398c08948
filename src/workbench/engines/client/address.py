"""The address of the service: a socket in a folder that only the user can enter, or the value of WORKBENCH_SERVICE.

WORKBENCH_SERVICE is the path of a socket, `http://127.0.0.1:PORT`, or `off`.
"""

import os
import stat
import tempfile
from pathlib import Path

from workbench.errors import BadInput

NAME, TOKEN = "WORKBENCH_SERVICE", "WORKBENCH_SERVICE_TOKEN"
_OFF = "off"


def address() -> str | None:
    """Return the address of the service, from WORKBENCH_SERVICE or else the usual socket; None if there is none."""
    named = os.environ.get(NAME)
    if named:
        return None if named == _OFF else named.removeprefix("unix:")
    socket = usual_socket()
    return str(socket) if socket.exists() and is_private(socket.parent) else None


def is_named() -> bool:
    """Whether WORKBENCH_SERVICE names a service, which is then expected to run."""
    return bool(os.environ.get(NAME))


def usual_socket() -> Path:
    """Return the path of the user's socket: in XDG_RUNTIME_DIR, or else in a private folder for temporary files."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.path.isdir(runtime):
        return Path(runtime, "workbench", "service.sock")
    return Path(tempfile.gettempdir(), f"workbench-{_user()}", "service.sock")


def socket_to_serve() -> Path:
    """Return the path on which a new service listens: the usual one, or that in WORKBENCH_SERVICE."""
    named = os.environ.get(NAME, _OFF).removeprefix("unix:")
    return usual_socket() if named == _OFF or "://" in named else Path(named).absolute()


def make_private(folder: Path) -> None:
    """Make a folder that only its owner can enter.

    Raises:
        BadInput: it exists and belongs to another user, or other users can enter it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not is_private(folder):
        raise BadInput(
            f"the folder {folder} belongs to another user, or other users can enter it; remove it, or set XDG_RUNTIME_DIR to "
            "another folder"
        )


def is_private(folder: Path) -> bool:
    """Whether a folder belongs to this user and nobody else can enter it."""
    about = folder.lstat()
    return stat.S_ISDIR(about.st_mode) and about.st_uid == _user() and not about.st_mode & 0o077


def _user() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0
