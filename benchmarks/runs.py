"""How much a sweep gains over papermill once per run, and what supervising costs a single run.

Each is measured in turns on the same machine, with stores of their own that start empty: twenty runs of
`01_prompt_sensitivity` over one miniature model with different seeds, by `papermill` one after the other and by
`workbench sweep`; then single runs with all answers stored. Run it on a quiet machine: `make bench-runs`.
"""

import os
import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from workbench.records import notebook_path

NOTEBOOK = notebook_path("01_prompt_sensitivity.ipynb")
SEEDS = range(20)
ROUNDS = 5  # of single runs, in turns


def seconds(*words: str, store: Path) -> float:
    """Wall time of a command of this Python's, with a store."""
    environment = {**os.environ, "WORKBENCH_STORE": str(store)}
    began = perf_counter()
    subprocess.run([sys.executable, "-m", *words], env=environment, check=True, capture_output=True)
    return perf_counter() - began


def by_papermill(folder: Path, seed: int, store: Path) -> float:
    """One run by papermill's own command."""
    output = str(folder / f"{seed}.ipynb")
    options = ["--no-progress-bar", "--cwd", str(NOTEBOOK.parent), "-p", "seed", str(seed)]
    return seconds("papermill", str(NOTEBOOK), output, *options, store=store)


def main() -> None:
    """Measure and print."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        file = folder / "twenty.toml"
        file.write_text(f'notebook = "{NOTEBOOK}"\n[product]\nseed = {list(SEEDS)}\n', encoding="utf-8")
        swept = seconds(
            "workbench.cli", "sweep", str(file), "--root", str(folder / "runs"), store=folder / "a.sqlite"
        )
        again = seconds(
            "workbench.cli", "sweep", str(file), "--root", str(folder / "runs"), store=folder / "a.sqlite"
        )
        one_by_one = sum(by_papermill(folder, seed, folder / "b.sqlite") for seed in SEEDS)
        print(
            f"20 runs: sweep {swept:.1f} s, papermill {one_by_one:.1f} s: {one_by_one / swept:.2f} times faster (goal 4)"
        )
        print(f"the same sweep again: {again:.2f} s")
        ratios = []
        for seed in range(100, 100 + ROUNDS):
            plain = by_papermill(folder, seed, folder / "b.sqlite")
            words = ["run", str(NOTEBOOK), "-p", "seed", str(seed), "--root", str(folder / "single")]
            ratios.append(seconds("workbench.cli", *words, store=folder / "b.sqlite") / plain)
        print(
            f"one supervised run: {statistics.median(ratios):.2f} times papermill's time (goal at most 1.2), {sorted(ratios)}"
        )


if __name__ == "__main__":
    main()
