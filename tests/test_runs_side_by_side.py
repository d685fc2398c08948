"""Several notebooks run side by side give what each gives alone."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from workbench import runs
from workbench.errors import NotebookFailed

pytestmark = pytest.mark.usefixtures("the_package_stands_still")

MEETING = """
import time
from pathlib import Path
from workbench.run_log import record
Path(place, me).touch()
until = time.monotonic() + 60
while not Path(place, other).exists() and time.monotonic() < until:
    time.sleep(0.05)
record(met=int(Path(place, other).exists()))
"""


def notebook(folder, name, cell, body):
    cells = [new_code_cell(cell, metadata={"tags": ["parameters"]}, id="one"), new_code_cell(body, id="two")]
    nbformat.write(new_notebook(cells=cells), folder / f"{name}.ipynb")
    return folder / f"{name}.ipynb"


def meeting(folder, me, other):
    cell = f"place: str = {str(folder)!r}\nme: str = {me!r}\nother: str = {other!r}"
    return runs.plan(notebook(folder, me, cell, MEETING))


def test_two_notebooks_run_at_once_and_are_not_repeated(tmp_path):
    plans = [meeting(tmp_path, "one", "two"), meeting(tmp_path, "two", "one")]
    seen = []
    endings = runs.run_all(
        plans, root=tmp_path / "runs", workers=2, watch=lambda it: seen.append(it.counts())
    )
    assert [ending.run_id for ending in endings] == [plan.run_id for plan in plans]
    assert [runs.read(plan.folder(tmp_path / "runs"))["met"].item() for plan in plans] == [1, 1]
    assert seen[-1] == {"done": 2}
    assert not list((tmp_path / "runs" / ".work").iterdir())
    again = runs.run_all(plans, root=tmp_path / "runs", workers=2)
    assert [ending.reused for ending in again] == [True, True]


def test_a_notebook_that_fails_stops_those_after_it(tmp_path):
    plans = [
        runs.plan(notebook(tmp_path, name, "seed: int = 0", body))
        for name, body in (("bad", "raise ValueError('an odd one')"), ("good", "pass"))
    ]
    (ending,) = runs.run_all(plans, root=tmp_path / "runs", workers=1)
    assert ending.exit_code == NotebookFailed.exit_code
    assert "an odd one" in ending.message
