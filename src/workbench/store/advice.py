"""What a message says about an error of SQLite, and what to do about it."""

import sqlite3

PATIENCE = 60  # seconds to wait for other processes
_SHOWN = 300  # characters of SQLite's message
ELSEWHERE = "name another file in WORKBENCH_STORE"
REPAIR = "`workbench store check --repair` removes damaged entries, and they are computed again"
RECOVER = f"`sqlite3 FILE .recover` may save what is in it; move it away or {ELSEWHERE}"


def message_of(error: Exception) -> str:
    """Return an error of SQLite as one printable line; its messages may quote damaged text."""
    line = " ".join(str(error).split())[:_SHOWN]
    return "".join(sign if sign.isprintable() else "·" for sign in line)


def remedy(error: Exception) -> str:
    """Return advice on an error of SQLite, or on a finding of its integrity check."""
    text = str(error) if isinstance(error, sqlite3.Error) else ""
    if "full" in text or "I/O" in text:
        return f"free some space, or {ELSEWHERE}; what was committed before is safe"
    if "locked" in text:
        return f"another process has held it for {PATIENCE} s; end that one and start again, or {ELSEWHERE}"
    if "readonly" in text or "unable to open" in text:
        return f"make it writable, or {ELSEWHERE}"
    if "UTF-8" in text or "too big" in text:
        return REPAIR
    return RECOVER
