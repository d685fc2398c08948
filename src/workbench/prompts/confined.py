"""Render templates of other people in a process of its own, with limits that Jinja's sandbox does not have.

The sandbox stops a template from reaching Python, but neither loops nor huge strings. So the whole work goes to a child
process (`workbench.prompts.worker`) that may use so much memory and processor time, and write no file; what it gives back
comes as JSON. Ours are rendered here, without the detour. Where the system has no such limits (memory on macOS), time
and the length of the output remain.
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
from workbench.prompts.rendering import Prompt, Template, render

MEMORY = 2**30  # bytes of address space of the child
_SECONDS, _SECONDS_PER_PROMPT = 5, 0.002  # of processor time; ten times as much on the clock


def render_all(templates: Sequence[Template], rows: Sequence[Mapping[str, Any]]) -> list[list[Prompt]]:
    """Fill every template with every row: a list per template, in order.

    Raises:
        BadInput: as `render`, or a template of other people that takes too much time or memory; it is named.
    """
    confined = [template for template in templates if template.foreign]
    found = iter(_ask_child(confined, rows) if confined and rows else [])
    return [
        next(found, []) if template.foreign else [render(template, row) for row in rows]
        for template in templates
    ]


def _ask_child(templates: Sequence[Template], rows: Sequence[Mapping[str, Any]]) -> list[list[Prompt]]:
    seconds = int(_SECONDS + _SECONDS_PER_PROMPT * len(templates) * len(rows))
    order = {
        "memory": MEMORY,
        "seconds": seconds,
        "templates": list(map(asdict, templates)),
        "rows": [dict(row) for row in rows],
    }
    path = os.pathsep.join([str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "workbench.prompts.worker"]
    try:
        done = subprocess.run(
            command, input=json.dumps(order).encode(), capture_output=True, timeout=10 * seconds, check=False,
            env={**os.environ, "PYTHONPATH": path},
        )  # fmt: skip
        output, broke = done.stdout, done.returncode > 0
    except subprocess.TimeoutExpired as error:
        output, broke = error.stdout or b"", False
    answers = [json.loads(line) for line in output.split(b"\n")[:-1]]
    for answer in answers:
        if "error" in answer:
            raise BadInput(answer["error"])
    if len(answers) < len(templates) and broke:  # by itself: limits end it with a signal
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise BadInput(
            f"the process that renders templates broke at {templates[len(answers)].name!r}: {''.join(said)}; "
            "see that the rows hold plain JSON values, or leave the template out"
        )
    if len(answers) < len(templates):
        raise BadInput(
            f"template {templates[len(answers)].name!r} takes more than {seconds} s of processor time or {MEMORY >> 20} MiB "
            f"for {len(rows)} rows; look for loops and repeated strings in it, or leave it out"
        )
    return [
        [Prompt(text, tuple(choices), target) for text, choices, target in answer["prompts"]]
        for answer in answers
    ]
