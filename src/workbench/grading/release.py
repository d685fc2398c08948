"""What is handed out: `release/` in a course's folder, with notebooks without solutions, and an archive each for students and instructors.

Notebooks are changed as nbgrader's `generate_assignment` changes them, but for its checksums.
"""

import json
import re
import zipfile
from pathlib import Path
from typing import Any

from workbench.atomic import make_folder, written_whole
from workbench.errors import BadInput
from workbench.grading.courses import COURSE, Assignment, read_course
from workbench.grading.submissions import NO_ANSWER, grading_of

_STUB = {"code": "# YOUR CODE HERE\nraise NotImplementedError()", "markdown": NO_ANSWER}
_REGION = re.compile(
    r"^([ \t]*)[^\n]*BEGIN SOLUTION[^\n]*\n.*?^[^\n]*END SOLUTION[^\n]*(?:\n|\Z)", re.DOTALL | re.MULTILINE
)
_CAPSTONE = "capstone"  # handed out as it is
_ROOMS = ("source", "checks", _CAPSTONE)  # of the instructors' archive, with these files
_FILES = (COURSE, "README.md", "students.md", "nbgrader_config.py", "token_scores.py")
_DATE = (2026, 1, 1, 0, 0, 0)  # the same content gives the same archive


def build_release(folder: Path) -> tuple[Path, Path]:
    """Write the release of a course, and return the paths of the students' and the instructors' archive.

    Raises:
        BadInput: as `read_course`, or a solution that would be handed out.
        StoreFailed: the folder cannot be written.
    """
    course, release = read_course(folder), folder / "release"
    handed_out = {"README.md": (folder / "students.md").read_bytes()}
    for each in course.assignments:
        handed_out |= _handed_out(each)
    for path in sorted((folder / _CAPSTONE).rglob("*")):
        if _ships(path):
            handed_out[path.relative_to(folder).as_posix()] = path.read_bytes()
    for name, content in handed_out.items():
        make_folder((release / name).parent)
        (release / name).write_bytes(content)
    own = [path for room in _ROOMS for path in sorted((folder / room).rglob("*")) if _ships(path)]
    own += [folder / name for name in _FILES if (folder / name).is_file()]
    for_instructors = {path.relative_to(folder).as_posix(): path.read_bytes() for path in own}
    archives = release / "students.zip", release / "instructors.zip"
    _write_archive(archives[0], handed_out)
    _write_archive(
        archives[1], for_instructors | {f"release/{name}": data for name, data in handed_out.items()}
    )
    return archives


def _handed_out(assignment: Assignment) -> dict[str, bytes]:
    """Return the files that students get for an assignment: its notebook, and what lies beside its source."""
    found = {f"{assignment.name}/{assignment.name}.ipynb": _as_json(assignment).encode()}
    beside = sorted(assignment.source.path.parent.iterdir())
    more = [path for path in beside if path != assignment.source.path and _ships(path)]
    return found | {f"{assignment.name}/{path.name}": path.read_bytes() for path in more}


def without_solution(cell: dict[str, Any]) -> str:
    """Return the source of a cell as students get it."""
    source = str(cell["source"])
    stub = _STUB.get(cell["cell_type"], "")
    if not grading_of(cell).get("solution"):
        return source
    shown, regions = _REGION.subn(lambda found: _indented(stub, found[1]), source)
    return shown.removesuffix("\n") if regions else stub


def _as_json(assignment: Assignment) -> str:
    """Return the notebook that students get."""
    cells = [{**cell, "source": without_solution(cell)} for cell in assignment.source.cells]
    for cell in cells:
        if "SOLUTION" in cell["source"] or "HIDDEN TESTS" in cell["source"]:
            raise BadInput(
                f"{assignment.name}: a solution or hidden test would be handed out in a cell that begins "
                f"{cell['source'][:40]!r}; mark the cell as a solution in nbgrader's format"
            )
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
    source = assignment.source
    content = {"cells": cells, "metadata": source.metadata, "nbformat": 4, "nbformat_minor": source.minor}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _indented(stub: str, by: str) -> str:
    return "".join(f"{by}{line}\n" for line in stub.split("\n"))


def _ships(path: Path) -> bool:
    return path.is_file() and not {"__pycache__", ".ipynb_checkpoints", "runs"} & set(path.parts)


def _write_archive(path: Path, content: dict[str, bytes]) -> None:
    with written_whole(path) as aside, zipfile.ZipFile(aside, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(zipfile.ZipInfo(f"coursework/{name}", _DATE), data, zipfile.ZIP_DEFLATED)
