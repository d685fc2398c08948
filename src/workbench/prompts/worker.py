"""The child process of `workbench.prompts.confined`: reads limits and an order from stdin, writes a JSON line per part."""

import json
import resource
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from workbench.errors import BadInput
from workbench.prompts.rendering import Template, render_unless_blank
from workbench.prompts.yaml_file import parse


def main() -> None:
    """Set the limits, then process the parts in order; stop at the first that fails."""
    limits = json.loads(sys.stdin.buffer.readline())
    _limit(resource.RLIMIT_AS, limits["memory"])
    _limit(resource.RLIMIT_CPU, limits["seconds"])
    _limit(resource.RLIMIT_FSIZE, 0)
    for name, work in _parts(json.loads(sys.stdin.buffer.read())):
        line, good = answer(name, work)
        sys.stdout.buffer.write(line + b"\n")
        sys.stdout.buffer.flush()
        if not good:
            return


def _parts(order: Mapping[str, Any]) -> Iterator[tuple[str, Callable[[], Any]]]:
    if "yaml" in order:
        yield order["what"], partial(parse, order["yaml"], order["what"])
    for fields in order.get("templates", ()):
        template = Template(**fields)
        yield f"template {template.name!r}", partial(_render, template, order["rows"])


def _render(template: Template, rows: list[dict[str, Any]]) -> list[Any]:
    prompts = [render_unless_blank(template, row) for row in rows]
    return [prompt and (prompt.text, prompt.choices, prompt.target) for prompt in prompts]


def answer(name: str, work: Callable[[], Any]) -> tuple[bytes, bool]:
    """Process a part: return its result or the reason of its failure as JSON, and whether it succeeded."""
    try:
        return json.dumps({"found": work()}).encode(), True
    except BadInput as error:
        failure = str(error)
    except (MemoryError, RecursionError) as error:
        failure = f"{name} fails with {type(error).__name__}; look for huge strings or deep nesting in it"
    return json.dumps({"error": failure}).encode(), False


def _limit(what: int, amount: int) -> None:
    _, hard = resource.getrlimit(what)
    allowed = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
    try:
        resource.setrlimit(what, (allowed, hard))
    except ValueError:  # the system lacks this limit; time and output remain limited
        return


if __name__ == "__main__":
    main()
