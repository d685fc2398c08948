"""How errors from SQLite are reported, and the advice given with them."""

import sqlite3

PATIENCE = 60  # seconds to wait for other processes
_SHOWN = 300  # characters of SQLite's message
ELSEWHERE = "set WORKBENCH_STORE to another file"
REPAIR = "`workbench store check --repair` removes damaged entries, which are then recomputed"
RECOVER = f"`sqlite3 FILE .recover` may rescue its content; move the file away, or {ELSEWHERE}"


def message_of(error: Exception) -> str:
    """Return the message of an error from SQLite as one printable line; it may quote damaged text."""
    line = " ".join(str(error).split())[:_SHOWN]
    return "".join(sign if sign.isprintable() else "·" for sign in line)


def remedy(error: Exception) -> str:
    """Return advice on an error from SQLite, or on a finding of its integrity check."""
    text = str(error) if isinstance(error, sqlite3.Error) else ""
    if "full" in text or "I/O" in text:
        return f"free some space, or {ELSEWHERE}; answers committed before are safe"
    if "locked" in text:
        return (
            f"another process has locked it for {PATIENCE} s; end that process and try again, or {ELSEWHERE}"
        )
    if "readonly" in text or "unable to open" in text:
        return f"make it writable, or {ELSEWHERE}"
    if "UTF-8" in text or "too big" in text:
        return REPAIR
    return RECOVER
