"""Asking the miniatures: nothing unbalanced, nothing noisy."""

import io
import logging
import sys

import pytest
import transformers

from miniatures.architectures import load_float32
from miniatures.check import predictions
from miniatures.recipe import load_member
from workbench.errors import BadInput


@pytest.mark.parametrize("meanings", [0, 7, -12, 60])
def test_meanings_that_are_not_balanced_are_refused_before_anything_is_read(tmp_path, meanings):
    """`mini check --meanings 7` ran for eight minutes."""
    with pytest.raises(BadInput, match=f"^{meanings} meanings .* give one of 12, 24, 36, 48$"):
        predictions(tmp_path, meanings)
    with pytest.raises(BadInput, match="lacks mini-bloom"):  # the twin: the next thing that is looked at
        predictions(tmp_path, 12)


def said_by(load, folder, monkeypatch):
    """What transformers shows and notes while a folder is loaded, as it does for those who change nothing."""
    notes, shown = [], io.StringIO()
    handler = logging.Handler(logging.WARNING)
    handler.emit = notes.append
    monkeypatch.setattr(sys, "stderr", shown)
    transformers.logging.set_verbosity_warning()
    transformers.logging.enable_progress_bar()
    transformers.logging.add_handler(handler)
    try:
        load(folder)
    finally:
        transformers.logging.remove_handler(handler)
    return [note.getMessage() for note in notes], shown.getvalue()


def test_a_member_is_loaded_without_bars_and_notices(checkpoints, monkeypatch):
    """Each of eight members brought a loading bar, and each mT5 a notice that its head is not tied."""
    assert said_by(load_member, checkpoints["mt5"], monkeypatch) == ([], "")
    notes, shown = said_by(load_float32, checkpoints["mt5"], monkeypatch)  # the twin
    assert any("tie" in note for note in notes)
    assert "Loading weights" in shown
