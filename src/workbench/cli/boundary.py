"""How a command ends: an error is one sentence on stderr and a documented exit code.

The package's own errors carry their message and exit code. Errors of the operating system, such as an unusable path, are
worded here. Anything else is a bug in workbench: its traceback goes to a file that the message names.
"""

import errno
import os
import platform
import shlex
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer
from platformdirs import user_log_path

import workbench
from workbench.cli.printing import notice
from workbench.errors import (
    INTERRUPTED,
    OUR_FAULT,
    OUTPUT_CLOSED,
    BadInput,
    NotebookFailed,
    StoreFailed,
    WorkbenchError,
)

_UsageError: Any = typer.BadParameter.__mro__[1]  # typer shows only this one kind of it
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS}
_SHOWN = 120  # characters of a path or of a foreign error's message


def exit_code_of(command: Callable[[], object], words: Sequence[str]) -> int:
    """Call a command and return its exit code.

    Args:
        command: Returns an exit code, or None for success.
        words: The command line, for the file with the traceback.
    """
    try:
        code = _ended(command, words)
        sys.stdout.flush()
    except BrokenPipeError:
        _close_output()
        return OUTPUT_CLOSED
    except OSError as error:  # a full disk took not all of the output
        _close_output()
        return _refused(error)
    return code


def _ended(command: Callable[[], object], words: Sequence[str]) -> int:
    try:
        _expect_text(words)
        code = command()
    except _UsageError as error:
        return _wrong_usage(error)
    except WorkbenchError as error:
        notice(f"error: {error if isinstance(error, NotebookFailed) else _one_line(str(error))}")
        return error.exit_code
    except KeyboardInterrupt:
        code = INTERRUPTED
    except SystemExit as end:  # what typer and rich make of a closed output
        if isinstance(end.__context__, BrokenPipeError):
            raise end.__context__ from None
        raise
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        return _refused(error) if error.filename or error.errno in _DISK else _our_fault(error, words)
    except Exception as error:  # noqa: BLE001  the last resort
        return _our_fault(error, words)
    if code == INTERRUPTED:  # typer's word for Ctrl-C
        notice("interrupted; what was finished is kept")
    return code if isinstance(code, int) else 0


def _expect_text(words: Sequence[str]) -> None:
    """Refuse arguments that are not valid text: no manifest, page or store could contain them."""
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError as error:
            raise BadInput(
                f"the argument {word[:_SHOWN]!a} is not UTF-8; rename the file, or type the text in a UTF-8 terminal"
            ) from error


def _wrong_usage(error: Exception) -> int:
    message = error.format_message()  # type: ignore[attr-defined]
    context = error.ctx  # type: ignore[attr-defined]
    if message:  # else the help was asked for by giving nothing, and is printed
        hint = f" (see `{context.command_path} --help`)" if context else ""
        notice(f"error: {_one_line(message).replace('Value error, ', '').rstrip('.')}{hint}")
    return BadInput.exit_code


def _refused(error: OSError) -> int:
    """Report a path or a disk that the operating system refused."""
    reason = error.strerror or type(error).__name__
    if error.errno in _DISK:
        where = f" {error.filename}" if error.filename else " the output"
        notice(f"error: could not write{where}: {reason}; free some space or choose another folder")
        return StoreFailed.exit_code
    notice(f"error: cannot use {_short(str(error.filename))!r}: {reason}; name another file or folder")
    return BadInput.exit_code


def _our_fault(error: Exception, words: Sequence[str]) -> int:
    what = _short(_one_line(f"{type(error).__name__}: {error}"))
    try:
        where = f"the traceback is in {_keep(error, words)}; please report it with that file"
    except OSError as reason:
        where = f"its traceback could not be written ({reason.strerror})"
    notice(f"error: a fault of workbench itself, {what}; {where}")
    return OUR_FAULT


def _keep(error: Exception, words: Sequence[str]) -> Path:
    """Write the traceback to the user's log folder, or else to the temporary folder, readable by the user only."""
    text = (
        f"workbench {workbench.__version__}, Python {platform.python_version()}, {platform.platform()}\n"
        f"workbench {shlex.join(words)}\n\n{''.join(traceback.format_exception(error))}"
    )
    name = f"traceback-{datetime.now(UTC):%Y%m%d-%H%M%S}-"
    try:
        folder = user_log_path("workbench", ensure_exists=True)
        handle, path = tempfile.mkstemp(".txt", name, folder)
    except OSError:
        handle, path = tempfile.mkstemp(".txt", f"workbench-{name}")
    with open(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(text)
    return Path(path)


def _close_output() -> None:
    """Discard the rest of the output, so that the interpreter does not report an error as it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())


def _one_line(text: str) -> str:
    """Return a message on one line; parsers and loaders word theirs on several."""
    return " ".join(line.strip() for line in text.splitlines() if line.strip())


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
