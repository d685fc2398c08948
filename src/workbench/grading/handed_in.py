"""A capstone that was handed in: its registration, receipt, notebook, report, and the run of each stage."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict

from workbench.errors import BadInput
from workbench.grading.estimators import audit_apart
from workbench.grading.registration import (
    RECEIPT,
    REGISTRATION,
    Receipt,
    Registration,
    Stage,
    read_receipt,
    read_registration,
)
from workbench.grading.sandbox import Limits
from workbench.grading.submissions import Submission
from workbench.runs.folders import MARK, digests
from workbench.runs.manifests import expect_run, kept_in, read_as
from workbench.runs.notebooks import Notebook, read_notebook
from workbench.stats.audit import Cell

NOTEBOOK, REPORT, RUNS = "capstone.ipynb", "report.md", "runs"
_REFERENCE = re.compile(r"\{(?P<stage>[a-z]+)\.(?P<name>\w+)(?::(?P<form>[^{}]*))?\}")
_FORM = re.compile(r"\+?(\.\d)?[f%d]?")
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
_NUMBER = re.compile(r"(?<![\w.])[-+−]?\d+(?:[.,]\d+)*\s?%?")


class _Written(BaseModel):
    """The fields of a `run.json` by which its folder is judged."""

    model_config = ConfigDict(frozen=True)
    started: AwareDatetime
    files: dict[str, str]
    reads: dict[str, str]
    packages: dict[str, str]
    code_sha256: str
    data_sha256: str
    hardware: dict[str, Any]


@dataclass(frozen=True)
class StageRun:
    """The run of a stage: its folder, what its manifest says, and its metrics."""

    folder: Path
    written: _Written
    metrics: dict[str, Any]

    @property
    def damaged(self) -> list[str]:
        """The files that are missing, new, or other than the manifest says."""
        there, told = digests(self.folder), self.written.files
        return sorted(name for name in {*there, *told} if there.get(name) != told.get(name))


@dataclass(frozen=True)
class HandedIn:
    """The folder of a pair, with the course's template of the notebook, and how it is graded.

    `repeat` runs the notebook of the pair, that is, their code, in a process of this user; `answers` is the folder of the pack.
    """

    folder: Path
    template: Notebook
    salt: str
    limits: Limits
    repeat: bool = False
    answers: Path | None = None

    @cached_property
    def registration(self) -> Registration:
        """What the pair registered."""
        return read_registration(self.folder / REGISTRATION)

    @cached_property
    def receipt(self) -> Receipt:
        """The receipt for it."""
        return read_receipt(self.folder / RECEIPT)

    @cached_property
    def notebook(self) -> Notebook:
        """The pair's notebook."""
        return read_notebook(self.folder / NOTEBOOK)

    @cached_property
    def submission(self) -> Submission:
        """The notebook as a submission, of which functions can be taken."""
        return Submission(self.notebook, self.template, self.registration.pair)

    @cached_property
    def audited(self) -> list[Cell]:
        """What the pair's estimator does on populations with known truth.

        Raises:
            BadInput: there is no function `estimate`, or it fails on some sample.
        """
        code = self.submission.definition_of("estimate")
        if code is None:
            raise BadInput("There is no function estimate.")
        seed = sha256(f"{self.salt}\n{self.registration.pair}".encode()).digest()[:4]
        return audit_apart(code, "estimate", self.limits, int.from_bytes(seed))

    @cached_property
    def report(self) -> str:
        """The report as it was written."""
        try:
            return (self.folder / REPORT).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise BadInput(f"{self.folder / REPORT} cannot be read: {error}") from error

    def run_of(self, stage: Stage) -> StageRun:
        """Return the finished run of a stage.

        Raises:
            BadInput: there is none, more than one, or it is damaged.
        """
        found = [
            one.folder
            for one in kept_in(self.folder / RUNS)
            if one.is_finished and one.manifest and one.manifest.parameters.get("stage") == stage
        ]
        if len(found) != 1:
            raise BadInput(
                f"{len(found) or 'no'} finished runs of the stage {stage} in {RUNS}/; hand in exactly one, whole, with its {MARK}"
            )
        _, metrics = expect_run(found[0])
        remedy = "run the stage again and hand in its whole folder"
        written = read_as(found[0] / "run.json", _Written, "is no complete manifest", remedy)
        return StageRun(found[0], written, metrics)


def filled(report: str, value_of: Callable[[str, str], Any]) -> tuple[str, list[str]]:
    """Return a report with the references to metrics filled in, and what is wrong with it.

    Args:
        value_of: Takes stage and name, returns the metric; KeyError if there is none.
    """
    wrong: list[str] = []

    def fill(match: re.Match[str]) -> str:
        try:
            value, form = value_of(match["stage"], match["name"]), match["form"] or ""
            if not _FORM.fullmatch(form):
                raise ValueError(form)
            return format(value, form)
        except (KeyError, ValueError):
            wrong.append(match[0])
            return match[0]

    text = _REFERENCE.sub(fill, report)
    return text, [*(f"{each} resolves to nothing" for each in wrong), *typed_numbers(report)]


def typed_numbers(report: str) -> Iterator[str]:
    """Yield the numbers of a report that are neither a reference, nor in code, a heading's or a list's number, or a year."""
    plain = _CODE.sub(" ", _REFERENCE.sub(" ", report))
    for line in plain.splitlines():
        for match in _NUMBER.finditer(re.sub(r"^\s*(#+\s*)?\d+[.)]\s", "", line)):
            if not re.fullmatch(r"(19|20)\d\d", match[0].strip()):
                yield f"{match[0].strip()!r} is typed in by hand"
