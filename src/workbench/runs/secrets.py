"""Detection of passwords and keys, which must not be written into notebooks and manifests.

Names are judged by their words, so `hf_token` is refused and `max_new_tokens` is not; values by the formats that the
services document: Hugging Face, OpenAI, Anthropic, GitHub, GitLab, Slack, Google, AWS, npm, PyPI; JWT (RFC 7519), PEM
(RFC 7468), a URL's user information (RFC 3986). This is a heuristic: what it accepts may still be a secret.
"""

import re
from typing import Any

from workbench.errors import BadInput

_INSIDE = re.compile(
    r"passw(or)?d|passphrase|credential|secret(?!ar)|(api|access|private)key|(access|api|auth|hf|user)token$"
)
_WORDS = {"auth", "authorization", "bearer", "pwd"}
_LAST = {
    "key",
    "keys",
    "token",
    "tokens",
    "cookie",
    "cookies",
}  # unless the word before it is in _OF_DATA
_OF_DATA = {
    # keys of tables and records
    "answer", "answers", "cache", "cell", "choice", "choices", "cluster", "column", "data", "field", "foreign", "gold", "group",
    "id", "index", "input", "item", "join", "json", "label", "language", "map", "merge", "metric", "output", "premise",
    "primary", "prompt", "question", "row", "sort", "source", "split", "target", "task", "text",
    # tokens of a vocabulary, and counts of them
    "additional", "batch", "begin", "bos", "cls", "context", "decoder", "encoder", "end", "eos", "extra", "first", "generated",
    "last", "mask", "max", "min", "new", "num", "pad", "per", "sep", "special", "start", "stop", "suppress", "total", "unk",
    "word",
}  # fmt: skip
_VALUE = re.compile(
    r"""
      \bhf_[A-Za-z0-9]{30,} | \bapi_org_[A-Za-z0-9]{30,}
    | \bsk-[A-Za-z0-9]{20,} | \bsk-(proj|ant|svcacct|admin|or)-[\w-]{16,}
    | \bgh[pousr]_[A-Za-z0-9]{30,} | \bgithub_pat_\w{22,}
    | \bgl(pat|oas|dt|rt|cbt|ptt|ft|imt|agent|soat)-[\w-]{20,}
    | \bxox[abeoprs]-[\w-]{10,} | \bxapp-[\w-]{20,}
    | \bAIza[\w-]{35} | \bya29\.[\w-]{20,}
    | \b(AKIA|ASIA)[A-Z0-9]{16}\b
    | \bnpm_[A-Za-z0-9]{36} | \bpypi-[\w-]{50,}
    | \beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}
    | -----BEGIN\ [A-Z ]*PRIVATE\ KEY
    | \b[a-z][a-z0-9+.-]*://[^\s/:@]*:[^\s/@]+@
    | \b[Bb]earer\ [\w.~+/-]{20,}
    """,
    re.VERBOSE,
)


def refuse_secret(name: str, value: Any) -> None:
    """Raise if a parameter's name, a key inside it, or a text in it looks like a secret.

    Raises:
        BadInput: it does; the message does not repeat the value.
    """
    if _is_secret(name, value):
        raise BadInput(
            f"parameter {name!r} looks like a secret – parameters are written into notebooks and manifests – set an "
            "environment variable (HF_TOKEN for the hub) instead"
        )


def _is_secret(name: str, value: Any) -> bool:
    if _is_secret_name(name, value):
        return True
    if isinstance(value, dict):
        return any(_is_secret(str(key), part) for key, part in value.items())
    if isinstance(value, list | tuple | set):
        return any(_is_secret("", part) for part in value)
    return isinstance(value, str) and _VALUE.search(value) is not None


def _is_secret_name(name: str, value: Any) -> bool:
    """Return whether a name is that of a secret: `openai_key`, `pwd`, `apiKey`; not `sort_key`, nor `tokens = 20`."""
    words = [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]
    if _WORDS & set(words) or _INSIDE.search("".join(words)):
        return True
    if not words or words[-1] not in _LAST or isinstance(value, int | float):
        return False
    return len(words) == 1 or words[-2] not in _OF_DATA
