"""The child process of `workbench.prompts.confined`: an order on stdin, a line of JSON per template on stdout."""

import json
import resource
import sys
from typing import Any

from workbench.errors import BadInput
from workbench.prompts.rendering import Template, render


def main() -> None:
    """Set the limits, then render template by template; stop at the first that fails."""
    order = json.loads(sys.stdin.buffer.read())
    _limit(resource.RLIMIT_AS, order["memory"])
    _limit(resource.RLIMIT_CPU, order["seconds"])
    _limit(resource.RLIMIT_FSIZE, 0)
    for fields in order["templates"]:
        answer = _answer(Template(**fields), order["rows"])
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        sys.stdout.buffer.flush()
        if "error" in answer:
            return


def _answer(template: Template, rows: list[dict[str, Any]]) -> dict[str, Any]:
    try:
        prompts = [render(template, row) for row in rows]
    except BadInput as error:
        return {"error": str(error)}
    except (MemoryError, RecursionError) as error:
        return {
            "error": f"template {template.name!r} fails with {type(error).__name__}; look for huge strings or deep nesting in it"
        }
    return {"prompts": [(prompt.text, prompt.choices, prompt.target) for prompt in prompts]}


def _limit(what: int, amount: int) -> None:
    _, hard = resource.getrlimit(what)
    allowed = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
    try:
        resource.setrlimit(what, (allowed, hard))
    except ValueError:  # a system without this limit; time and output stay limited
        return


if __name__ == "__main__":
    main()
