"""The language of an answer: identified for answers of one word or more, and measured against the language asked for."""

from workbench.studies.answer_language.identifying import AnswerLanguage, answer_languages, known_texts
from workbench.studies.answer_language.measuring import (
    judge_answers,
    language_accuracy,
    language_matrix,
    right_answers,
)

__all__ = [
    "AnswerLanguage",
    "answer_languages",
    "judge_answers",
    "known_texts",
    "language_accuracy",
    "language_matrix",
    "right_answers",
]
