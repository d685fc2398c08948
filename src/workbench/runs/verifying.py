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

from workbench.atomic import expect_file_name, make_folder, write_atomically
from workbench.errors import BadInput
from workbench.paths import data_path, expanded
from workbench.runs.answer_packs import EXPECTED, answers_in, is_answer_pack
from workbench.runs.bundles import Bundle, Ending, carry_out
from workbench.runs.expected import (
    Difference,
    Expected,
    differences,
    drift,
    expectation,
    keep_tolerances,
)
from workbench.runs.manifests import expect_run, read_as
from workbench.runs.notebooks import find_notebook
from workbench.runs.plans import RunPlan, plan
from workbench.store import Store
from workbench.store.packs import import_pack


@dataclass(frozen=True)
class Case:
    """Expected values under a name, and the path of the notebook."""

    name: str
    notebook: Path
    expected: Expected


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
        what: A run's folder, that of an answer pack, an expected file, `<notebook>` or `<notebook>/<case>`; None for all.
        folder: The folder of expected values, if not that of the package's data.

    Raises:
        BadInput: no case has that name, a file holds no expected values, or the run did not succeed.
    """
    path = expanded(what or "")
    if what and os.path.exists(path / "run.json"):  # os.path.exists does not raise for a long name
        manifest, _ = expect_run(path)
        notebook = find_notebook(manifest.notebook_path)
        return [Case(f"{manifest.notebook}/{path.resolve().name}", notebook, expectation(path))]
    if what and is_answer_pack(path):
        what, folder = None, path / EXPECTED
    known = sorted((folder or data_path("expected")).glob("*/*.json"))
    names = {each: f"{each.parent.name}/{each.stem}" for each in known}
    chosen = [path] if what and os.path.isfile(path) else known
    if chosen == known:
        chosen = [each for each in known if what in (None, each.parent.name, names[each])]
    if not chosen:
        there = ", ".join(names.values()) or "none yet (`workbench accept RUN` writes them)"
        raise BadInput(
            f"no expected values for {what or 'anything'}; give a run's folder, or one of: {there}"
        )
    return [_case(each) for each in chosen]


def _case(path: Path) -> Case:
    expected = _read_expected(path)
    notebook = find_notebook(expected.notebook, beside=path.parent)
    return Case(f"{path.parent.name}/{path.stem}", notebook, expected)


def _read_expected(path: Path) -> Expected:
    return read_as(path, Expected, "holds no expected values", "delete it and run `workbench accept` again")


def verify(
    cases: Sequence[Case],
    *,
    workers: int = 1,
    limit: float | None = None,
    other_hardware: bool = False,
    keep: Path | None = None,
    answers: Path | None = None,
) -> list[Verdict]:
    """Repeat the runs of the cases, from an empty store, and compare.

    Args:
        cases: From `find_cases`.
        workers: Runs at a time.
        limit: Time limit of each run in seconds.
        other_hardware: Judge by the stored intervals, as is done for a case recorded on another kind of device than this one.
        keep: Where the new runs are stored; None stores them in a temporary folder, deleted unless a run failed.
        answers: The folder of an answer pack, with whose answers the store begins.

    Raises:
        BadInput: the pack is damaged.
    """
    plans = [plan(case.notebook, case.expected.parameters) for case in cases]
    with TemporaryDirectory(prefix="workbench-verify-") as temporary:
        root = expanded(keep or mkdtemp(prefix="workbench-verified-")).absolute()
        environment = {"WORKBENCH_STORE": str(Path(temporary) / "store.sqlite")}
        if answers is not None:
            import_pack(Store(environment["WORKBENCH_STORE"]), answers_in(answers))
        state = root / ".work" / "verify.json"
        bundle = Bundle("verify", tuple(plans), root, state, workers, True, limit, True, None, environment)
        ended = {ending.run_id: ending for ending in carry_out(bundle).endings}
        endings = [ended[planned.run_id] for planned in plans]
        shutil.rmtree(state.parent, ignore_errors=True)
        verdicts = [
            _judged(case, planned, ending, root, other_hardware)
            for case, planned, ending in zip(cases, plans, endings, strict=True)
        ]
    if keep is None and not any(ending.exit_code for ending in endings):
        shutil.rmtree(root)
    return verdicts


def _judged(case: Case, planned: RunPlan, ending: Ending, root: Path, other_hardware: bool) -> Verdict:
    if ending.exit_code:
        return Verdict(case.name, ending)
    got = expectation(planned.folder(root))
    found = differences(case.expected, got, statistical=other_hardware or got.device != case.expected.device)
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
    new = expectation(run)
    name = case or (run.resolve().name.rsplit("-", 1)[0] if new.parameters else "default")
    name = expect_file_name(name, "the case")
    notebook = expect_file_name(new.notebook, "the notebook")
    path = (folder or data_path("expected")) / notebook / f"{name}.json"
    changed = None
    if path.exists():
        old = _read_expected(path)
        changed = differences(old, new)
        keep_tolerances(new, old)
    make_folder(path.parent)
    write_atomically(path, _text(new.model_dump(exclude_none=True)) + "\n")
    return path, changed


def _text(value: Any, level: int = 0) -> str:
    """Return JSON with one line per entry of the upper three levels, so that a change makes a small diff."""
    if not isinstance(value, dict) or not value or level > 2:
        return json.dumps(value, ensure_ascii=False)
    pad = "\n" + " " * (level + 1)
    inner = [f"{pad}{json.dumps(key)}: {_text(part, level + 1)}" for key, part in value.items()]
    return "{" + ",".join(inner) + pad[:-1] + "}"
