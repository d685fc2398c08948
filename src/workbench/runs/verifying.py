"""Repeat runs that have expected values and report the differences; or accept a run's results as expected values.

Expected values are committed as `data/expected/<notebook>/<case>.json`. Verification starts from an empty store, so that
answers are computed, not looked up.
"""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

from workbench.atomic import expect_file_name, make_folder, read_json, write_atomically
from workbench.errors import BadInput
from workbench.paths import data_path, expanded
from workbench.runs.expected import (
    PARTS,
    Difference,
    device_of,
    differences,
    drift,
    expectation,
    keep_tolerances,
    read_manifest,
)
from workbench.runs.folders import MARK
from workbench.runs.local import LocalProcesses
from workbench.runs.notebooks import find_notebook
from workbench.runs.plans import Plan, plan
from workbench.runs.task import Ending, Task, ending_of


@dataclass(frozen=True)
class Case:
    """Expected values under a name, and the path of the notebook."""

    name: str
    notebook: Path
    expected: dict[str, Any]


@dataclass(frozen=True)
class Verdict:
    """The result of verifying a case: how its run ended, what differs (largest first), and how the environment differs."""

    case: str
    ending: Ending
    differences: tuple[Difference, ...] = ()
    drift: tuple[str, ...] = ()

    @property
    def is_as_expected(self) -> bool:
        """Whether the run succeeded and nothing differs."""
        return self.ending.exit_code == 0 and not self.differences


def find_cases(what: str | None = None, folder: Path | None = None) -> list[Case]:
    """Find the cases to verify.

    Args:
        what: A run's folder, an expected file, `<notebook>` or `<notebook>/<case>`; None for all.
        folder: The folder of expected values, if not that of the package's data.

    Raises:
        BadInput: no case has that name, a file holds no expected values, or the run did not succeed.
    """
    folder = folder or data_path("expected")
    path = expanded(what or "")
    if what and os.path.exists(path / "run.json"):  # os.path.exists does not raise for a long name
        manifest = read_manifest(path)
        if not (path / MARK).exists():
            raise BadInput(f"the run in {path} did not succeed; there is nothing to compare with")
        notebook = find_notebook(manifest.notebook_path)
        return [Case(f"{manifest.notebook}/{path.resolve().name}", notebook, expectation(path))]
    known = sorted(folder.glob("*/*.json"))
    chosen = [path] if what and os.path.isfile(path) else [each for each in known if _is_meant(each, what)]
    if not chosen:
        names = (
            ", ".join(f"{each.parent.name}/{each.stem}" for each in known)
            or "none yet: `workbench accept RUN`"
        )
        raise BadInput(f"no expected values for {what or 'anything'}; a run's folder, or one of: {names}")
    return [_case(each) for each in chosen]


def _is_meant(path: Path, what: str | None) -> bool:
    return what in (None, path.parent.name, f"{path.parent.name}/{path.stem}")


def _case(path: Path) -> Case:
    content = _read_expected(path)
    notebook = find_notebook(content["notebook"], beside=path.parent)
    return Case(f"{path.parent.name}/{path.stem}", notebook, content)


def _read_expected(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
        if content.get("format") != 1:
            raise ValueError("its format is not 1")
        if missing := PARTS - content.keys():
            raise ValueError(f"it lacks {', '.join(sorted(missing))}")
    except ValueError as error:
        raise BadInput(
            f"{path} holds no expected values: {error}; delete it, and write it again with `workbench accept`"
        ) from error
    return content


def verify(
    cases: Sequence[Case],
    *,
    workers: int = 1,
    limit: float | None = None,
    other_hardware: bool = False,
    keep: Path | None = None,
) -> list[Verdict]:
    """Repeat the runs of the cases, from an empty store, and compare.

    Args:
        cases: From `find_cases`.
        workers: Runs at a time.
        limit: Time limit of each run in seconds.
        other_hardware: Judge by the stored intervals, as is done for a case recorded on another kind of device than this one.
        keep: Where the new runs are stored; None stores them in a temporary folder, deleted unless a run failed.
    """
    plans = [plan(case.notebook, case.expected["parameters"]) for case in cases]
    with TemporaryDirectory(prefix="workbench-verify-") as temporary:
        root = expanded(keep or mkdtemp(prefix="workbench-verified-")).absolute()
        environment = {"WORKBENCH_STORE": str(Path(temporary) / "store.sqlite")}
        with LocalProcesses(workers, environment=environment) as executor:
            tasks = [executor.submit(Task(planned, root, True, limit)) for planned in plans]
            endings = [ending_of(planned.run_id, task) for planned, task in zip(plans, tasks, strict=True)]
        verdicts = [
            _judged(case, planned, ending, root, other_hardware)
            for case, planned, ending in zip(cases, plans, endings, strict=True)
        ]
    if keep is None and not any(ending.exit_code for ending in endings):
        shutil.rmtree(root)
    return verdicts


def _judged(case: Case, planned: Plan, ending: Ending, root: Path, other_hardware: bool) -> Verdict:
    if ending.exit_code:
        return Verdict(case.name, ending)
    folder = planned.folder(root)
    got = expectation(folder)
    statistical = other_hardware or device_of(read_manifest(folder)) != case.expected["device"]
    found = differences(case.expected, got, statistical=statistical)
    return Verdict(case.name, ending, tuple(found), tuple(drift(case.expected, got)))


def accept(
    run: Path | str, case: str | None = None, folder: Path | None = None
) -> tuple[Path, list[Difference] | None]:
    """Write a run's results as expected values.

    Args:
        run: The folder of a finished run.
        case: A name for it; by default "default" for default parameters, else the run's slug.
        folder: The folder of expected values, if not that of the package's data.

    Returns:
        The file, and the differences from the values it held before; None if it is new.

    Raises:
        BadInput: the run is not finished, a parameter is a path on this machine, or the existing file is damaged.
        StoreFailed: the file could not be written.
    """
    run = expanded(run)
    if not os.path.exists(run / MARK):
        raise BadInput(f"no finished run in {run}; give the folder of one, as in runs/<notebook>/<run id>")
    new = expectation(run)
    name = case or ("default" if not new["parameters"] else run.resolve().name.rsplit("-", 1)[0])
    name = expect_file_name(name, "the case")
    notebook = expect_file_name(new["notebook"], "the notebook")
    path = (folder or data_path("expected")) / notebook / f"{name}.json"
    old = _read_expected(path) if path.exists() else None
    changed = None if old is None else differences(old, new)
    make_folder(path.parent)
    write_atomically(path, _text(new if old is None else keep_tolerances(new, old)))
    return path, changed


def _text(content: dict[str, Any], depth: int = 2) -> str:
    """Return JSON with one line per entry down to `depth` and one line for deeper values, so that a change makes a small diff."""

    def lines(value: Any, level: int) -> str:
        if not isinstance(value, dict) or not value or level > depth:
            return json.dumps(value, ensure_ascii=False)
        inner = [f"{json.dumps(key)}: {lines(part, level + 1)}" for key, part in value.items()]
        pad = " " * (level + 1)
        return "{\n" + ",\n".join(f"{pad}{line}" for line in inner) + f"\n{' ' * level}}}"

    return lines(content, 0) + "\n"
