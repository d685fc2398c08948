"""For nbgrader: functions are graded by workbench in processes apart, instead of by cells in the student's own kernel.

nbgrader reads this file in the folder of the course. A check's points and sentence become the output of its cell, so the gradebook, the
formgrader and the feedback show them; a student's code never runs in nbgrader's process, and the feedback has no hidden test to print.
"""

import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbconvert.preprocessors import ClearMetadataPreprocessor
from nbformat.v4 import new_output
from nbgrader.preprocessors import AssignLatePenalties, CheckCellMetadata, LimitOutput, SaveAutoGrades
from nbgrader.preprocessors.base import NbGraderPreprocessor

from workbench.grading import grade, read_course, read_submission

COURSE = Path(__file__).parent if "__file__" in globals() else Path()


class GradeApart(NbGraderPreprocessor):
    """Grade a notebook with workbench, and write points and sentences as outputs of its graded cells."""

    def preprocess(self, nb: Any, resources: Any) -> tuple[Any, Any]:
        """Return the notebook with the outputs from which nbgrader reads points."""
        student = resources["nbgrader"]["student"]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "submission.ipynb"
            nbformat.write(nb, path)
            course = read_course(COURSE)
            graded = {
                each.cell: each
                for each in grade(read_submission(path, course, student=student), course).cells
            }
        for cell in nb.cells:
            about = graded.get(cell.metadata.get("nbgrader", {}).get("grade_id"))
            if about is not None and cell.cell_type == "code":
                said = new_output("stream", name="stdout", text=about.feedback + "\n")
                points = new_output(
                    "execute_result", data={"text/plain": f"{about.points:g}"}, execution_count=1
                )
                cell.outputs = [said, points]
        return nb, resources


c = get_config()  # type: ignore[name-defined]  # noqa: F821  nbgrader provides it
c.CourseDirectory.course_id = "coursework"
c.CourseDirectory.root = str(COURSE.resolve())
c.Autograde.autograde_preprocessors = [
    GradeApart, ClearMetadataPreprocessor, LimitOutput, SaveAutoGrades, AssignLatePenalties, CheckCellMetadata,
]  # fmt: skip
c.ClearMetadataPreprocessor.enabled = False
