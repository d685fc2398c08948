"""Read and render templates of other people in a process of its own, with limits that Jinja's sandbox does not have.

The sandbox stops a template from reaching Python, but neither loops nor huge strings; and a small YAML file can take minutes.
So the whole work goes to a child process (`workbench.prompts.worker`) that may use so much memory and processor time, and
write no file; what it gives back comes as JSON. Ours are rendered here, without the detour. Where the system has no such
limits (memory on macOS), time and the length of the output remain.
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

MEMORY = 2**30  # bytes of address space of the child, and eight times what it is sent
_SECONDS, _SECONDS_PER_PROMPT = 5, 0.002  # of processor time; ten times as much on the clock


def render_all(templates: Sequence[Template], rows: Sequence[Mapping[str, Any]]) -> list[list[Prompt | None]]:
    """Fill every template with every row: a list per template, in order; None where it renders nothing for the row.

    Raises:
        BadInput: as `render`, or a template of other people that takes too much time or memory; it is named.
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
    """The templates in a YAML text, read by the child: name, jinja and answer_choices of each.

    Raises:
        BadInput: not a template file of promptsource, or one that takes too much time or memory; begins with `what`.
    """
    remedy = "to be read; look for deep nesting in it, or leave it out"
    [found] = ask_child({"yaml": text, "what": what}, [what], seconds=_SECONDS, remedy=remedy)
    return [(name, jinja, choices) for name, jinja, choices in found]


def ask_child(order: Mapping[str, Any], parts: Sequence[str], *, seconds: int, remedy: str) -> list[Any]:
    """Send an order to a child: an answer to each of its parts.

    Raises:
        BadInput: what the child refuses, the part at which it broke, or the one that took too much.
    """
    try:
        sent = json.dumps(order).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise BadInput(f"a row holds what JSON cannot ({error}); give texts, numbers, lists") from error
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
    if len(answers) < len(parts) and broke:  # by itself: limits end it with a signal
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise BadInput(
            f"the process that renders templates broke at {parts[len(answers)]}: {''.join(said)}; see that the rows hold "
            "plain JSON values, or leave the template out"
        )
    if len(answers) < len(parts):
        raise BadInput(
            f"{parts[len(answers)]} takes more than {seconds} s of processor time or {memory >> 20} MiB {remedy}"
        )
    return [answer["found"] for answer in answers]
