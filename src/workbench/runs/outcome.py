"""The outcome of a run, judged from outside.

A run counts as done if its process says so, *and* every code cell has an execution count, *and* no cell shows an error that
its tags do not allow (`raises-exception`): papermill's own marks are wrong after a killed kernel or `sys.exit(0)`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench import errors
from workbench.errors import Incomplete, KernelDied, NotebookFailed, StoreFailed, WorkbenchError
from workbench.runs.notebooks import Notebook, last_markdown, read_notebook, tags

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")

_SILENT = "CellExecutionError"  # papermill's name for a failure without an error output


class TimeLimit(WorkbenchError):
    """A run exceeded its time limit."""

    exit_code = 124


@dataclass(frozen=True)
class Outcome:
    """The outcome of a run: `error` holds type, message and, if a cell raised, its number, source and traceback.

    `allowed_errors` are those of cells tagged `raises-exception`, `answer` the last Markdown that the notebook displayed.
    """

    status: str
    exit_code: int
    error: dict[str, Any] | None = None
    allowed_errors: tuple[dict[str, Any], ...] = ()
    answer: str = ""


def judge(code: int, seen: Mapping[str, Any], executed: Path) -> Outcome:
    """Return the outcome of a run from its process's exit code, what the process reported, and the executed notebook."""
    message = seen.get("message", f"the run's own process ended with code {code}; its stderr.log says why")
    if code < 0:
        return _died(f"the run's process was ended by signal {-code}")
    if seen.get("seen") == "dead kernel":
        return _died(f"the kernel died, perhaps for lack of memory, or did not start ({message})")
    if seen.get("seen") == "disk":
        return Outcome("failed", 7, {"type": "StoreFailed", "message": message})
    if "seen" not in seen or not executed.exists():  # the process failed; its notebook may be cut off
        return Outcome("failed", 1, {"type": "NotebookFailed", "message": message})
    notebook = read_notebook(executed)
    cells = notebook.code
    if failed := failure_in(notebook):
        return _raised(*failed)
    if seen.get("seen") != "end" or code != 0:
        return Outcome("failed", 1, {"type": "NotebookFailed", "message": message})
    missing = [cell for cell in cells if _should_have_run(cell) and cell["execution_count"] is None]
    if missing:
        missed = f"{len(missing)} of {len(cells)} code cells did not run"
        return Outcome("incomplete", 6, {"type": "Incomplete", "message": missed})
    allowed = (
        {"cell": cell["execution_count"], "type": output["ename"], "message": output["evalue"]}
        for cell, output in _errors(notebook)
    )
    return Outcome("done", 0, allowed_errors=tuple(allowed), answer=last_markdown(notebook))


def failure_in(notebook: Notebook) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return the first cell that failed without being allowed to, with its error output; None if there is none.

    Some failures have no error output (an unknown magic, an exception caught by the notebook's own handler); their message is
    in the cell's streams.
    """
    for cell, output in _errors(notebook):
        if "raises-exception" not in tags(cell) or output["ename"] == "SystemExit":
            return cell, output
    for cell in notebook.code:
        if cell["metadata"].get("papermill", {}).get("exception"):
            return cell, _silent_error(cell)
    return None


def _errors(notebook: Notebook) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for cell in notebook.code:
        yield from ((cell, output) for output in cell["outputs"] if output["output_type"] == "error")


def _silent_error(cell: Mapping[str, Any]) -> dict[str, Any]:
    texts = ["".join(output["text"]) for output in cell["outputs"] if output["output_type"] == "stream"]
    lines = "".join(texts).strip().splitlines()
    message = lines[-1] if lines else "the cell failed and printed no reason"
    return {"ename": _SILENT, "evalue": _COLOUR.sub("", message), "traceback": lines}


def _should_have_run(cell: Mapping[str, Any]) -> bool:
    return bool(cell["source"].strip()) and "skip-execution" not in tags(cell)


def _died(message: str) -> Outcome:
    return Outcome("killed", 138, {"type": "KernelDied", "message": message})


def _raised(cell: Mapping[str, Any], output: Mapping[str, Any]) -> Outcome:
    name, value = output["ename"], output["evalue"]
    facts = {
        "type": name,
        "message": value,
        "cell": cell["execution_count"],
        "source": cell["source"],
        "traceback": _COLOUR.sub("", "\n".join(output["traceback"])),
    }
    if name == "SystemExit" and value in ("", "0", "None"):
        return Outcome(
            "incomplete", 6, facts | {"message": f"cell In [{facts['cell']}] ended the notebook (sys.exit)"}
        )
    return Outcome("failed", _class_of(name).exit_code, facts)


def _class_of(name: str) -> type[WorkbenchError]:
    """Return the workbench error of this name, so that its exit code is kept; NotebookFailed for any other exception."""
    found = getattr(errors, name, None)
    return found if isinstance(found, type) and issubclass(found, WorkbenchError) else NotebookFailed


def error_of(notebook: str, outcome: Outcome, kept: Path) -> WorkbenchError:
    """Return the exception for an unsuccessful run, with the cell, the end of the traceback and the folder of the run."""
    facts = outcome.error or {}
    by_code = {kind.exit_code: kind for kind in (Incomplete, StoreFailed, TimeLimit, KernelDied)}
    kind = by_code.get(outcome.exit_code) or _class_of(facts["type"])
    text = f"{notebook}: {facts['message']}"
    if outcome.status == "failed" and "cell" in facts:
        where = f"cell In [{facts['cell']}]"
        text = f"{notebook}, {where}: {facts['message']}"
        if kind is NotebookFailed:
            raised = "failed" if facts["type"] == _SILENT else f"raised {facts['type']}"
            tail = "\n".join(facts["traceback"].splitlines()[-12:])
            text = (
                f"{notebook}: {where} {raised}: {facts['message']}\n--- the cell\n{facts['source']}\n"
                f"--- the end of the traceback\n{tail}\n---"
            )
    return kind(f"{text} – its files are in {kept}")
