"""What the model service costs, and what it saves a restarted kernel."""

import os
import statistics
import subprocess
import sys
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from benchmarks.checkpoints import checkpoint
from benchmarks.results import Result
from workbench import Item, load, rank
from workbench.runs.machine import cores
from workbench.service import private_service
from workbench.store import Store

_FIRST = """
import sys, time
from workbench import generate, load
model = load(sys.argv[1], device="cpu")
begun = time.perf_counter()
generate(model, [f"w7 w{sys.argv[2]}"], max_new_tokens=1, progress=False)
assert model.where.startswith("the service") and "torch" not in sys.modules
print(time.perf_counter() - begun)
"""


def ranking(items: int, repeats: int) -> list[Result]:
    """Items ranked through the service against the same in the process, both sides, stores that start empty, in turns."""
    asked = [_item(number) for number in range(items)]
    results = []
    with private_service(threads=cores()) as address, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a miniature warns of questions about the real world
        for name in ("mini-bloomz", "mini-mt0"):
            pairs = [
                (_seconds(name, address, asked), _seconds(name, "off", asked)) for _ in range(repeats + 1)
            ]
            ratios = sorted(there / here for there, here in pairs[1:])  # the first loads the libraries
            value = statistics.median(ratios)
            times = ", ".join(f"{there:.2f} and {here:.2f} s" for there, here in pairs[1:])
            what = f"{items:,} items ranked through the service, against in the process, {name}"
            results.append(
                Result("service", what, value, "× its time", "≤ 1.1", value <= 1.1, (ratios[0], ratios[-1]), times)
            )  # fmt: skip
    return results


def first_answer(folder: Path, repeats: int) -> list[Result]:
    """Seconds from `load` to the first answer in a new process, from a service that has random weights of bloomz-560m's size."""
    path = checkpoint("bloomz-560m", folder)
    with TemporaryDirectory() as place, private_service(threads=cores()) as address:
        environment = {**os.environ, "WORKBENCH_SERVICE": address, "WORKBENCH_STORE": f"{place}/store.sqlite"}
        command = [sys.executable, "-c", _FIRST, str(path)]
        times = [
            float(subprocess.check_output([*command, str(number)], env=environment))
            for number in range(repeats + 1)
        ][1:]  # the first loads the model
    value = statistics.median(times)
    what = "first answer after load in a new process, 559 M weights"
    return [Result("service", what, value, "s", "≤ 0.5 s", value <= 0.5, (min(times), max(times)))]


def _item(number: int) -> Item:
    names, things = ("Anna", "Tom", "Sara", "Ben"), ("apples", "lemons", "plums")
    one, other, thing = names[number % 4], names[number // 4 % 4], things[number % 3]
    prompt = f"{one} has {number} {thing}. {other} has {number % 7} {thing}. Who has {thing}?"
    return Item(str(number), prompt, ("Anna", "Tom", "Sara"), gold=0)


def _seconds(name: str, service: str, items: list[Item]) -> float:
    os.environ["WORKBENCH_SERVICE"] = service
    with TemporaryDirectory() as place:
        model = load(name, device="cpu", store=Store(Path(place) / "store.sqlite"))
        _ = model.engine  # loaded
        begun = perf_counter()
        rank(model, items, progress=False)
        return perf_counter() - begun
