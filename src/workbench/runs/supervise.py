"""Run one notebook in its own process, watched, and keep what came out.

The folder is written under a hidden name and
renamed when whole; `_SUCCESS` comes last. What failed is kept beside it as `<run_id>.failed-N`. Unix only.
"""

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import Any

from workbench.errors import BadInput, StoreFailed
from workbench.records import write_atomically
from workbench.runs.identity import identity, run_id_of, surroundings
from workbench.runs.notebooks import Notebook, last_markdown, read_notebook
from workbench.runs.parameters import check
from workbench.runs.verdict import Outcome, error_of, judge

_ENVIRONMENT = {
    "MPLBACKEND": "Agg",
    "PYTHONHASHSEED": "0",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "WORKBENCH_BATCH": "1",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
}
_PATIENCE = 5.0  # seconds between asking a process to end and ending it


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, its manifest (`run.json`), and whether it had been there before."""

    folder: Path
    manifest: dict[str, Any]
    reused: bool = False

    @property
    def run_id(self) -> str:
        """The run's name: a slug and a hash of all that can change its results."""
        return str(self.manifest["run_id"])

    @property
    def metrics(self) -> dict[str, Any]:
        """What the notebook recorded with `workbench.record`."""
        return _read(self.folder / "metrics.json")

    @property
    def message(self) -> str:
        """One sentence for people."""
        if self.reused:
            return f"nothing to do: the same run is in {self.folder} (force it to run again)"
        return f"done in {self.manifest['seconds']:.1f} s: {self.folder}"


def run(
    notebook: Path | str,
    parameters: Mapping[str, Any] | None = None,
    *,
    root: Path | str = Path("runs"),
    force: bool = False,
    limit: float | None = None,
) -> Run:
    """Execute a notebook with parameters and keep what came out in `root/<notebook>/<run_id>/`.

    Args:
        notebook: An .ipynb file with a cell tagged `parameters`; it runs in its own folder.
        parameters: Values of the declared types (see `workbench.runs.parse` for text from a command line).
        root: Where runs are kept.
        force: Run again even if the same run is there; it is replaced once the new one has succeeded.
        limit: Seconds until the run is ended.

    Raises:
        BadInput: before anything starts: unknown or mistyped parameters, no `parameters` cell, the same run going on.
        NotebookFailed: a cell raised. One of workbench's own errors comes out as that error, with its exit code.
        KernelDied, Incomplete, TimeLimit, StoreFailed: as named. The folder of the failed run is in the message.
        KeyboardInterrupt: after the run's processes have been ended and its folder kept.
    """
    source = read_notebook(Path(notebook).expanduser().absolute())
    checked, given = check(source, parameters or {})
    spec = identity(source.digest, checked)
    usual = check(source, {})[0]
    run_id = run_id_of(spec, {name: value for name, value in checked.items() if value != usual[name]})
    place = Path(root).expanduser().absolute() / source.path.stem
    try:
        if (place / run_id / "_SUCCESS").exists() and not force:
            return Run(place / run_id, _read(place / run_id / "run.json"), reused=True)
        place.mkdir(parents=True, exist_ok=True)
        with _claimed(place, run_id) as part:
            return _run_in(part, place / run_id, source, {**spec, "given": given, "run_id": run_id}, limit)
    except OSError as error:
        raise StoreFailed(
            f"could not keep the run in {place}: {error}; free some space or choose another root"
        ) from error


def _run_in(part: Path, final: Path, source: Notebook, spec: dict[str, Any], limit: float | None) -> Run:
    began, clock = datetime.now(UTC), monotonic()
    outcome, seen = _supervise(part, source, spec["given"], limit)
    manifest = {
        "format": 1,
        "notebook": source.path.stem,
        "notebook_path": str(source.path),
        **spec,
        "status": outcome.status,
        "exit_code": outcome.exit_code,
        "error": outcome.error,
        "started": began.isoformat(timespec="seconds"),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(monotonic() - clock, 3),
        "peak_memory_bytes": seen.get("peak_memory_bytes"),
        "seeds": {
            name: value for name, value in spec["parameters"].items() if re.search(r"(^|_)seeds?$", name)
        },
        "dtype": spec["parameters"].get("dtype"),
        **surroundings(),
        "facts": _read(part / "facts.json"),
        "answer": last_markdown(read_notebook(part / "notebook.ipynb")) if outcome.status == "done" else "",
        "files": _files(part),
    }
    write_atomically(part / "run.json", json.dumps(manifest, indent=1, ensure_ascii=False))
    if outcome.status != "done":
        kept = _set_aside(part, final)
        if outcome.status == "interrupted":
            raise KeyboardInterrupt
        raise error_of(source.path.name, outcome, kept)
    if final.exists():  # an earlier success under `force`, or a folder whose mark never came
        shutil.rmtree(final)
    part.rename(final)
    (final / "_SUCCESS").touch()
    return Run(final, manifest)


def _supervise(
    part: Path, source: Notebook, given: Mapping[str, Any], limit: float | None
) -> tuple[Outcome, dict[str, Any]]:
    """Start the child, wait for it, end all it left behind, and judge; also what the child said it saw."""
    short = "/tmp" if Path("/tmp").is_dir() else None  # a socket's path may have some 100 characters
    with tempfile.TemporaryDirectory(prefix="wb-", dir=short, ignore_cleanup_errors=True) as name:
        private = Path(name)
        shutil.copyfile(source.path, private / "notebook.ipynb")
        spec = {
            "notebook": str(private / "notebook.ipynb"),
            "title": source.path.stem,
            "parameters": dict(given),
            "cwd": str(source.path.parent),
            "result": str(private / "result.json"),
        }
        (private / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
        environment = {
            key: value for key, value in os.environ.items() if key != "PYTHONSTARTUP"
        } | _ENVIRONMENT
        environment |= {
            "WORKBENCH_RUN": str(part),
            "JUPYTER_RUNTIME_DIR": name,
            "IPYTHONDIR": str(private / "ipython"),
        }
        with (part / "stdout.log").open("wb") as out, (part / "stderr.log").open("wb") as err:
            process = subprocess.Popen(
                [sys.executable, "-m", "workbench.runs.child", str(private / "spec.json")],
                stdin=subprocess.PIPE, stdout=out, stderr=err, cwd=part, env=environment, start_new_session=True,
            )  # fmt: skip
        verdict = None
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            verdict = Outcome("timeout", 124, {"type": "TimeLimit", "message": f"not done after {limit:g} s"})
        except KeyboardInterrupt:
            verdict = Outcome("interrupted", 130, {"type": "KeyboardInterrupt", "message": "interrupted"})
        _end(process, private / "kernel.pid")
        seen = _read(private / "result.json")
        return verdict or judge(process.returncode, seen, part / "notebook.ipynb"), seen


def _end(process: "subprocess.Popen[bytes]", kernel: Path) -> None:
    """End the child's process group and the kernel's, politely at first; a no-op for what has ended."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE)
    groups = [process.pid]
    with suppress(OSError, ValueError):
        groups.append(int(kernel.read_text(encoding="ascii")))
    for group in groups:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    if process.stdin:
        process.stdin.close()
    process.wait()


@contextmanager
def _claimed(place: Path, run_id: str) -> Iterator[Path]:
    """A fresh hidden folder for this run, held against other processes; a dead one's leftovers are set aside.

    The operating system lets the lock go when its process ends, however it ends.
    """
    with (place / f".{run_id}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadInput(
                f"the run {run_id} is going on in another process; wait for it or end it"
            ) from None
        part = place / f".{run_id}.part"
        if part.exists():
            _set_aside(part, place / run_id)
        part.mkdir()
        yield part


def _set_aside(part: Path, final: Path) -> Path:
    number = 1
    while (kept := final.with_name(f"{final.name}.failed-{number}")).exists():
        number += 1
    return part.rename(kept)


def _files(folder: Path) -> dict[str, str]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest() for path in paths}


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return content
