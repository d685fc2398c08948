"""What sweeps and supervised runs cost beside papermill: same notebook, same model, stores of their own that start empty."""

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import nbformat

from benchmarks.checkpoints import checkpoint
from benchmarks.results import Result, ratio
from workbench.paths import notebook_path

NOTEBOOK = notebook_path("01_prompt_sensitivity.ipynb")
_NOTHING = (
    "from workbench.run_log import record\nrecord(value=seed)"  # a notebook whose runs cost next to nothing
)
_ASKING = """
import pandas as pd
import matplotlib.pyplot as plt
from workbench import Item, load, rank
from workbench.run_log import record
items = [Item(str(n), f"w{7 * n + 1000 * seed} w{n}", ("w1", "w2 w3"), gold=0) for n in range(8)]
table = rank(load(model), items)
record(margin=float(table["margin"].mean()))
table.plot(y="margin")
"""


def sweeps(runs: int, many: int) -> list[Result]:
    """A sweep over seeds against papermill once per run, and a sweep of `many` small runs asked for again."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        swept = _sweep(folder, "seeds", NOTEBOOK, runs)
        alone = sum(_by_papermill(folder, seed, "papermill") for seed in range(runs))
        first = _sweep(folder, "many", _small_notebook(folder), many)
        again = _sweep(folder, "many", _small_notebook(folder), many)
    return [
        ratio("runs", f"a sweep of {runs}, against papermill run by run", [alone], [swept], 4),
        Result("runs", f"a sweep of {many} small runs, again", again, "s", "≤ 3 s", again <= 3, detail=f"first {first:.1f} s"),
    ]  # fmt: skip


def large(runs: int, folder: Path) -> list[Result]:
    """A sweep over random weights of bloomz-560m's size, a cold store, other prompts in each run, against papermill run by run."""
    path = checkpoint("bloomz-560m", folder)
    with TemporaryDirectory() as temporary:
        place = Path(temporary)
        notebook = _asking_notebook(place, path)
        swept = _sweep(place, "large", notebook, runs)
        alone = sum(_by_papermill(place, seed, f"papermill-{seed}", notebook) for seed in range(runs))
    return [
        ratio(
            "runs", f"a sweep of {runs} over 559 M weights, against papermill run by run", [alone], [swept], 3
        )
    ]


def single(rounds: int) -> list[Result]:
    """Single runs in turns, all answers in the stores."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for way in (_by_papermill, _supervised):
            way(folder, rounds, way.__name__)
        times = [
            (_supervised(folder, seed, "_supervised"), _by_papermill(folder, seed, "_by_papermill"))
            for seed in range(rounds)
        ]
    ratios = sorted(ours / theirs for ours, theirs in times)
    value = ratios[len(ratios) // 2]
    seconds = ", ".join(f"{ours:.1f} and {theirs:.1f} s" for ours, theirs in times)
    return [
        Result("runs", "a supervised run, against papermill", value, "× its time", "≤ 1.2", value <= 1.2, (ratios[0], ratios[-1]), seconds)
    ]  # fmt: skip


def _sweep(folder: Path, name: str, notebook: Path, runs: int) -> float:
    file = folder / f"{name}.json"
    file.write_text(
        json.dumps({"notebook": str(notebook), "product": {"seed": list(range(runs))}}), encoding="utf-8"
    )
    return _seconds(folder, name, "workbench.cli", "sweep", str(file), "--root", str(folder / "runs"))


def _supervised(folder: Path, seed: int, store: str) -> float:
    words = ["run", str(NOTEBOOK), "-p", "seed", str(seed), "--root", str(folder / "single")]
    return _seconds(folder, store, "workbench.cli", *words)


def _by_papermill(folder: Path, seed: int, store: str, notebook: Path = NOTEBOOK) -> float:
    output = str(folder / f"{seed}.ipynb")
    options = ["--no-progress-bar", "--cwd", str(notebook.parent), "-p", "seed", str(seed)]
    return _seconds(folder, store, "papermill", str(notebook), output, *options)


def _seconds(folder: Path, store: str, *words: str) -> float:
    """Wall time of a command of this Python's, with a store."""
    environment = {**os.environ, "WORKBENCH_STORE": str(folder / f"{store}.sqlite")}
    began = perf_counter()
    subprocess.run([sys.executable, "-m", *words], env=environment, check=True, capture_output=True)
    return perf_counter() - began


def _small_notebook(folder: Path) -> Path:
    return _notebook(folder / "small.ipynb", "seed: int = 0", _NOTHING)


def _asking_notebook(folder: Path, checkpoint: Path) -> Path:
    cell = f"from workbench.runs import Model\nmodel: Model = {str(checkpoint)!r}\nseed: int = 0"
    return _notebook(folder / "asking.ipynb", cell, _ASKING)


def _notebook(path: Path, parameters: str, body: str) -> Path:
    first = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
    cells = [first, nbformat.v4.new_code_cell(body)]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"  # the same at every call, so that the same runs are asked for
    kernel = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
    }  # papermill asks for both
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)
    return path
