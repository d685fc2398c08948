"""Read and render third-party templates in a separate process, with limits that Jinja's sandbox does not have.

The sandbox keeps a template from reaching Python objects, but prevents neither long loops nor huge strings, and a small YAML
file can take minutes to parse. All of this therefore runs in a child process (`workbench.prompts.worker`) with limited memory
and processor time, which cannot write to files and returns JSON. Our own templates are rendered in this process. Where the
system lacks a limit (memory on macOS), those on time and output length remain.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from workbench.errors import BadInput
from workbench.paths import PACKAGE
from workbench.prompts.rendering import Prompt, Template, render_unless_blank

MEMORY = 2**30  # bytes of the child's address space, plus eight times the size of its input
_SECONDS, _SECONDS_PER_PROMPT = 5, 0.002  # of processor time; wall-clock limit: ten times that


def render_all(templates: Sequence[Template], rows: Sequence[Mapping[str, Any]]) -> list[list[Prompt | None]]:
    """Fill every template with every row: one list per template, in order; None where a template renders nothing for a row.

    Raises:
        BadInput: as `render`, or a third-party template that takes too much time or memory; the message names it.
    """
    confined = [template for template in templates if template.foreign]
    found = iter(_render_there(confined, rows) if confined and rows else [])
    return [
        next(found, []) if template.foreign else [render_unless_blank(template, row) for row in rows]
        for template in templates
    ]


def _render_there(
    templates: Sequence[Template], rows: Sequence[Mapping[str, Any]]
) -> list[list[Prompt | None]]:
    answers = ask_child(
        {"templates": list(map(asdict, templates)), "rows": [dict(row) for row in rows]},
        [f"template {template.name!r}" for template in templates],
        seconds=int(_SECONDS + _SECONDS_PER_PROMPT * len(templates) * len(rows)),
        remedy=f"for {len(rows)} rows; look for loops and repeated strings in it, or leave it out",
    )
    return [
        [None if one is None else Prompt(one[0], tuple(one[1]), one[2]) for one in prompts]
        for prompts in answers
    ]


def read_there(text: str, what: str) -> list[tuple[str, str, str | None]]:
    """Return name, jinja and answer_choices of each template in a YAML text, parsed by the child process.

    Raises:
        BadInput: not a template file of promptsource, or one that takes too much time or memory; the message begins with `what`.
    """
    remedy = "to be read; look for deep nesting in it, or leave it out"
    [found] = ask_child({"yaml": text, "what": what}, [what], seconds=_SECONDS, remedy=remedy)
    return [(name, jinja, choices) for name, jinja, choices in found]


def ask_child(order: Mapping[str, Any], parts: Sequence[str], *, seconds: int, remedy: str) -> list[Any]:
    """Send an order to a child process and return an answer for each of its parts.

    Raises:
        BadInput: the child refused a part, failed on it, or exceeded its limits.
    """
    try:
        sent = json.dumps(order).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise BadInput(
            f"a row holds a value that JSON cannot represent ({error}); give texts, numbers and lists"
        ) from error
    memory = MEMORY + 8 * len(sent)
    limits = json.dumps({"memory": memory, "seconds": seconds}).encode()
    path = os.pathsep.join([str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "workbench.prompts.worker"]
    try:
        done = subprocess.run(
            command, input=limits + b"\n" + sent, capture_output=True, timeout=10 * seconds, check=False,
            env={**os.environ, "PYTHONPATH": path},
        )  # fmt: skip
        output, broke = done.stdout, done.returncode > 0
    except subprocess.TimeoutExpired as error:
        output, broke = error.stdout or b"", False
    answers = [json.loads(line) for line in output.split(b"\n")[:-1]]
    for answer in answers:
        if "error" in answer:
            raise BadInput(answer["error"])
    if len(answers) < len(parts) and broke:  # an error of its own: limits end it with a signal
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise BadInput(
            f"the process that renders templates failed at {parts[len(answers)]}: {''.join(said)}; check that the rows hold "
            "plain JSON values, or leave the template out"
        )
    if len(answers) < len(parts):
        raise BadInput(
            f"{parts[len(answers)]} takes more than {seconds} s of processor time or {memory >> 20} MiB {remedy}"
        )
    return [answer["found"] for answer in answers]
