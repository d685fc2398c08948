"""Laws of claims: one process at a time executes a run, no lock is needed for it, and what a dead process held is free."""

import json
import os
import subprocess
import sys
import time
from multiprocessing import get_context
from threading import Thread

import pytest

from workbench.errors import BadInput
from workbench.runs import claims
from workbench.runs.claims import claimed
from workbench.runs.folders import publish


def dead_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def left(place, owner, *, age=0.0):
    """A claim on the run `one`, whose last renewal is `age` seconds old, and what was written under it."""
    (place / ".one.abc.part").mkdir(parents=True)
    (place / ".one.abc.part" / "metrics.json").touch()
    claim = place / ".one.1.claim"
    claim.write_text(json.dumps(owner))
    then = time.time() - age
    os.utime(claim, (then, then))


def is_free(place):
    try:
        with claimed(place, "one") as part:
            assert not list(part.iterdir())
            assert (place / ".one.2.claim").exists()
    except BadInput:
        return False
    assert (place / "one.failed-1" / "metrics.json").exists(), "what was left is kept"
    assert [path.name for path in place.iterdir()] == ["one.failed-1"]
    return True


HERE = {"machine": claims._machine(), "process": os.getpid()}
ELSEWHERE = HERE | {"machine": "another"}


@pytest.mark.parametrize(
    ("owner", "age", "free"),
    [
        (HERE, 0, False),
        (HERE | {"process": None}, 0, True),
        (ELSEWHERE | {"process": None}, 0, False),
        (ELSEWHERE, 100, False),
        (ELSEWHERE, 200, True),
        (HERE, 200, True),  # suspended, or another process has its number by now
        ({}, 0, False),  # being written
    ],
)
def test_a_claim_ends_with_its_process_or_three_minutes_after_its_last_renewal(tmp_path, owner, age, free):
    if owner.get("process", 0) is None:
        owner = owner | {"process": dead_process()}
    left(tmp_path / "runs", owner, age=age)
    assert is_free(tmp_path / "runs") == free


def test_a_process_that_is_at_work_renews_its_claim(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "_RENEWAL", 0.05)
    with claimed(tmp_path, "one"):
        claim = tmp_path / ".one.1.claim"
        os.utime(claim, (0, 0))
        until = time.monotonic() + 120
        while claim.stat().st_mtime == 0:
            assert time.monotonic() < until


def test_a_process_that_lost_its_claim_ends_with_an_error_and_changes_nothing(tmp_path):
    """It was suspended for longer than others wait, and another has done the run meanwhile; a third begins it again."""
    final = tmp_path / "one"
    with claimed(tmp_path, "one") as mine:
        (mine / "metrics.json").write_text("mine")
        os.utime(tmp_path / ".one.1.claim", (0, 0))
        with claimed(tmp_path, "one") as theirs:
            (theirs / "metrics.json").write_text("theirs")
            publish(theirs, final)
        third = claimed(tmp_path, "one")
        third.__enter__()
        with pytest.raises(FileNotFoundError):
            publish(mine, final)
    assert (tmp_path / ".one.1.claim").exists(), "that of the third"
    third.__exit__(None, None, None)
    assert (final / "metrics.json").read_text() == "theirs"
    assert (final / "_SUCCESS").exists()


def test_one_waits_for_another_if_asked_to(tmp_path):
    seen = []

    def wait_for_it():
        with claimed(tmp_path, "one", wait=True):
            seen.append("second")

    with claimed(tmp_path, "one"):
        waiting = Thread(target=wait_for_it)
        waiting.start()
        with pytest.raises(BadInput, match="another process is executing the run one"):
            claimed(tmp_path, "one").__enter__()
        seen.append("first")
    waiting.join(30)
    assert seen == ["first", "second"]
    assert list(tmp_path.iterdir()) == [], "a claim under which nothing was written leaves nothing"


def _enter_and_leave(place, turns):
    claims._PAUSE = 0.001
    for _ in range(turns):
        with claimed(place, "one", wait=True):
            inside = os.open(place / "inside", os.O_CREAT | os.O_EXCL)
            os.close(inside)
            os.unlink(place / "inside")


def test_never_are_two_processes_inside(tmp_path):
    forks = get_context("fork")
    crowd = [forks.Process(target=_enter_and_leave, args=(tmp_path, 20)) for _ in range(4)]
    for process in crowd:
        process.start()
    for process in crowd:
        process.join(60)
    assert [process.exitcode for process in crowd] == [0] * 4
    assert list(tmp_path.iterdir()) == []
