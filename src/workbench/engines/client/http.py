"""httpx without its command line, which it imports with click and rich where they are installed: most of the time of a first answer."""

import sys

_COMMAND_LINE = "httpx._main"
sys.modules.setdefault(_COMMAND_LINE, None)  # type: ignore[arg-type]  # httpx goes on without a module that cannot be imported

import httpx  # noqa: E402

if sys.modules[_COMMAND_LINE] is None:
    del sys.modules[_COMMAND_LINE]

__all__ = ["httpx"]
