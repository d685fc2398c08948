"""Coursework: grade notebooks and capstones that students hand in, report the grades, and build what is handed out."""

from workbench.grading.capstone import grade_capstone
from workbench.grading.checks import Check, Choice, check
from workbench.grading.courses import Assignment, Course, read_course
from workbench.grading.grading import CellGrade, Grade, grade, read_submission, read_submissions
from workbench.grading.registration import read_registration, receive
from workbench.grading.release import build_release
from workbench.grading.reports import as_canvas, as_moodle, feedback_of
from workbench.grading.sandbox import Limits, is_isolated

__all__ = [
    "Assignment",
    "CellGrade",
    "Check",
    "Choice",
    "Course",
    "Grade",
    "Limits",
    "as_canvas",
    "as_moodle",
    "build_release",
    "check",
    "feedback_of",
    "grade",
    "grade_capstone",
    "is_isolated",
    "read_course",
    "read_registration",
    "read_submission",
    "read_submissions",
    "receive",
]
